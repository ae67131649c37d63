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

/// The text of an attribute, of the string types that Go reads.
fn text(value: &Any) -> Option<String> {
    let bytes = value.value();
    match value.tag() {
        Tag::Utf8String => String::from_utf8(bytes.to_vec()).ok(),
        Tag::PrintableString | Tag::Ia5String | Tag::NumericString if bytes.is_ascii() => {
            String::from_utf8(bytes.to_vec()).ok()
        }
        // No-one writes T.61 itself under this tag; what is there is ASCII, else Latin-1.
        Tag::TeletexString => Some(bytes.iter().copied().map(char::from).collect()),
        Tag::BmpString => {
            let (units, []) = bytes.as_chunks::<2>() else { return None };
            char::decode_utf16(units.iter().copied().map(u16::from_be_bytes)).collect::<Result<_, _>>().ok()
        }
        _ => None,
    }
}
