//! Who a certificate is for: its subject, in the JSON form of Go's `pkix.Name`, which policies written for Authorino
//! expect.

use serde_json::{Map, Value, json};
use x509_cert::attr::AttributeTypeAndValue;
use x509_cert::der::asn1::Any;
use x509_cert::der::{Tag, Tagged as _};
use x509_cert::name::Name;

/// The attributes that have a list of their own, by the last number of their OID under 2.5.4.
const LISTS: [(u32, &str); 7] = [
    (6, "Country"),
    (10, "Organization"),
    (11, "OrganizationalUnit"),
    (7, "Locality"),
    (8, "Province"),
    (9, "StreetAddress"),
    (17, "PostalCode"),
];

/// The attributes of which only the last counts.
const SINGLES: [(u32, &str); 2] = [(5, "SerialNumber"), (3, "CommonName")];

/// The JSON form; none if an attribute is no text.
pub fn to_json(name: &Name) -> Option<Value> {
    let mut json: Map<String, Value> = LISTS.iter().map(|(_, field)| ((*field).to_owned(), Value::Null)).collect();
    json.extend(SINGLES.iter().map(|(_, field)| ((*field).to_owned(), json!(""))));
    json.insert("ExtraNames".to_owned(), Value::Null);
    let mut names = Vec::new();
    for AttributeTypeAndValue { oid, value } in name.0.iter().flat_map(|attributes| attributes.0.iter()) {
        let arcs: Vec<u32> = oid.arcs().collect();
        let text = text(value)?;
        if let [2, 5, 4, attribute] = arcs.as_slice() {
            let field = |fields: &[(u32, &'static str)]| {
                fields.iter().find(|(number, _)| number == attribute).map(|(_, field)| *field)
            };
            if let Some(field) = field(&LISTS) {
                append(&mut json, field, &text);
            } else if let Some(field) = field(&SINGLES) {
                json.insert(field.to_owned(), json!(text));
            }
        }
        names.push(json!({ "Type": arcs, "Value": text }));
    }
    json.insert("Names".to_owned(), if names.is_empty() { Value::Null } else { names.into() });
    Some(json.into())
}

fn append(json: &mut Map<String, Value>, field: &str, text: &str) {
    match json.get_mut(field) {
        Some(Value::Array(list)) => list.push(json!(text)),
        _ => drop(json.insert(field.to_owned(), json!([text]))),
    }
}

/// The text of an attribute, of the string types that Go reads, and as it reads them.
fn text(value: &Any) -> Option<String> {
    let bytes = value.value();
    let only =
        |allowed: fn(&u8) -> bool| bytes.iter().all(allowed).then(|| bytes.iter().copied().map(char::from).collect());
    match value.tag() {
        Tag::Utf8String => String::from_utf8(bytes.to_vec()).ok(),
        Tag::PrintableString => only(|byte| byte.is_ascii_alphanumeric() || b" '()+,-./:=?*&".contains(byte)),
        Tag::Ia5String => only(u8::is_ascii),
        Tag::NumericString => only(|byte| byte.is_ascii_digit() || *byte == b' '),
        // No-one writes T.61 itself under this tag; what is there is ASCII, else Latin-1.
        Tag::TeletexString => only(|_| true),
        Tag::BmpString => {
            let (units, []) = bytes.as_chunks::<2>() else { return None };
            let units = units.strip_suffix(&[[0, 0]]).unwrap_or(units);
            char::decode_utf16(units.iter().copied().map(u16::from_be_bytes)).collect::<Result<_, _>>().ok()
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authentication::x509::{certificate, testing::Ca};
    use rcgen::string::{BmpString, Ia5String, PrintableString, TeletexString};
    use rcgen::{DistinguishedName, DnType, DnValue};

    fn subject(attributes: Vec<(DnType, DnValue)>) -> Option<Value> {
        let client = Ca::root("ca").client_with("", |params| {
            params.distinguished_name = DistinguishedName::new();
            for (kind, value) in attributes {
                params.distinguished_name.push(kind, value);
            }
        });
        to_json(&certificate::parse(&client).unwrap().subject)
    }

    #[test]
    fn a_subject_looks_as_go_prints_it() {
        let go = r#"{"Country":["UK"],"Organization":["Acme"],"OrganizationalUnit":["Dev"],"Locality":["London"],
            "Province":["Greater London"],"StreetAddress":["1 Road"],"PostalCode":["SW1"],"SerialNumber":"007",
            "CommonName":"john","Names":[{"Type":[2,5,4,6],"Value":"UK"},{"Type":[2,5,4,7],"Value":"London"},
            {"Type":[2,5,4,8],"Value":"Greater London"},{"Type":[2,5,4,10],"Value":"Acme"},
            {"Type":[2,5,4,11],"Value":"Dev"},{"Type":[2,5,4,9],"Value":"1 Road"},{"Type":[2,5,4,17],"Value":"SW1"},
            {"Type":[2,5,4,5],"Value":"007"},{"Type":[2,5,4,3],"Value":"john"},
            {"Type":[1,2,840,113549,1,9,1],"Value":"j@acme.com"}],"ExtraNames":null}"#;
        let custom = |arc| DnType::CustomDnType(vec![2, 5, 4, arc]);
        let found = subject(vec![
            (DnType::CountryName, DnValue::PrintableString(PrintableString::try_from("UK").unwrap())),
            (DnType::LocalityName, "London".into()),
            (DnType::StateOrProvinceName, "Greater London".into()),
            (DnType::OrganizationName, "Acme".into()),
            (DnType::OrganizationalUnitName, "Dev".into()),
            (custom(9), "1 Road".into()),
            (custom(17), "SW1".into()),
            (custom(5), "007".into()),
            (DnType::CommonName, "john".into()),
            (
                DnType::CustomDnType(vec![1, 2, 840, 113_549, 1, 9, 1]),
                DnValue::Ia5String(Ia5String::try_from("j@acme.com").unwrap()),
            ),
        ]);
        assert_eq!(found, serde_json::from_str(go).unwrap());
    }

    #[test]
    fn what_is_not_there_is_null_or_empty() {
        let go = r#"{"Country":null,"Organization":null,"OrganizationalUnit":null,"Locality":null,"Province":null,
            "StreetAddress":null,"PostalCode":null,"SerialNumber":"","CommonName":"","Names":null,"ExtraNames":null}"#;
        assert_eq!(subject(vec![]), serde_json::from_str(go).unwrap());
    }

    #[test]
    fn repeated_attributes_are_lists_and_the_last_common_name_counts() {
        let certificate = include_str!("../../../testdata/x509/repeated.pem");
        let found = from_fixture(certificate);
        assert_eq!(found["OrganizationalUnit"], json!(["a", "b"]));
        assert_eq!(found["CommonName"], "second");
        assert_eq!(found["Names"].as_array().map(Vec::len), Some(4));
    }

    fn from_fixture(pem: &str) -> Value {
        use pki_types::pem::PemObject as _;
        let der = pki_types::CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
        to_json(&certificate::parse(&der).unwrap().subject).unwrap()
    }

    #[test]
    fn all_string_types_are_text() {
        for value in [
            DnValue::Utf8String("Zo\u{eb} \u{1f980}".into()),
            DnValue::BmpString(BmpString::try_from("Zo\u{eb}").unwrap()),
            DnValue::TeletexString(TeletexString::try_from("Zoe").unwrap()),
            DnValue::PrintableString(PrintableString::try_from("Zoe").unwrap()),
        ] {
            let found = subject(vec![(DnType::CommonName, value.clone())]).unwrap();
            assert!(found["CommonName"].as_str().unwrap().starts_with("Zo"), "{value:?}");
        }
    }
}
