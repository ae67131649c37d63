use serde_json::{Value, json};
use sidegate_engine::crypto::{
    Algorithm, Curve, Hash, PublicKey, RustCrypto, Verifier as _, ecdsa_from_der, ecdsa_to_der, verify_ecdsa,
};

use crate::signing::{RSA_N, Seed, decode, jwk, sign};

const MESSAGE: &[u8] = b"what is signed";

fn key(jwk: &Value) -> PublicKey {
    let member = |name: &str| decode(jwk[name].as_str().unwrap());
    match (jwk["kty"].as_str().unwrap(), jwk["crv"].as_str().unwrap_or_default()) {
        ("RSA", _) => PublicKey::rsa(&member("n"), &member("e")),
        ("OKP", _) => PublicKey::ed25519(&member("x")),
        (_, "P-256") => PublicKey::ec(Curve::P256, &member("x"), &member("y")),
        (_, "P-384") => PublicKey::ec(Curve::P384, &member("x"), &member("y")),
        _ => PublicKey::ec(Curve::P521, &member("x"), &member("y")),
    }
    .unwrap()
}

fn own(algorithm: Algorithm) -> PublicKey {
    key(&jwk(algorithm, Seed(7)))
}

#[test]
fn every_algorithm_knows_its_own_signature() {
    for algorithm in Algorithm::ALL {
        let (key, signature) = (own(algorithm), sign(algorithm, Seed(7), MESSAGE));
        assert!(RustCrypto.verify(algorithm, &key, MESSAGE, &signature), "{algorithm:?}");
        assert_eq!(Algorithm::from_name(algorithm.name()), Some(algorithm));
    }
}

#[test]
fn every_algorithm_refuses_what_was_changed() {
    for algorithm in Algorithm::ALL {
        let (key, signature) = (own(algorithm), sign(algorithm, Seed(7), MESSAGE));
        let refused = |message: &[u8], signature: &[u8]| !RustCrypto.verify(algorithm, &key, message, signature);
        assert!(refused(b"what is sIgned", &signature), "{algorithm:?}");
        for index in [0, signature.len() / 2, signature.len() - 1] {
            let mut changed = signature.clone();
            changed[index] ^= 1;
            assert!(refused(MESSAGE, &changed), "{algorithm:?} {index}");
        }
        for signature in [&[][..], &signature[1..], &[&signature[..], &[0]].concat(), &[&[0], &signature[..]].concat()]
        {
            assert!(refused(MESSAGE, signature), "{algorithm:?}");
        }
        for byte in [0, 0xff] {
            assert!(refused(MESSAGE, &vec![byte; signature.len()]), "{algorithm:?}");
        }
    }
}

#[test]
fn an_algorithm_accepts_its_own_signatures_alone() {
    for signed in Algorithm::ALL {
        let signature = sign(signed, Seed(7), MESSAGE);
        for (asked, holder) in Algorithm::ALL.into_iter().flat_map(|it| Algorithm::ALL.map(|other| (it, other))) {
            let right = asked == signed && own(holder) == own(signed);
            let verified = RustCrypto.verify(asked, &own(holder), MESSAGE, &signature);
            assert_eq!(verified, right, "signed {signed:?}, asked for {asked:?} with the key of {holder:?}");
        }
    }
}

#[test]
fn another_key_of_the_same_kind_is_refused() {
    for algorithm in [Algorithm::Es256, Algorithm::Es384, Algorithm::Es512, Algorithm::EdDsa] {
        let signature = sign(algorithm, Seed(8), MESSAGE);
        assert!(!RustCrypto.verify(algorithm, &own(algorithm), MESSAGE, &signature), "{algorithm:?}");
    }
}

#[test]
fn no_secret_and_no_signature_have_no_name() {
    for name in ["none", "None", "HS256", "HS384", "HS512", "rs256", "RS1", "ES256K", "Ed25519", "", " RS256"] {
        assert_eq!(Algorithm::from_name(name), None, "{name:?}");
    }
}

/// Signatures that somebody else made.
#[test]
fn examples_of_the_standards_hold() {
    let rsa = json!({"kty": "RSA", "n": RSA_N, "e": "AQAB"});
    let p256 = json!({"kty": "EC", "crv": "P-256",
        "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"});
    let p521 = json!({"kty": "EC", "crv": "P-521",
        "x": "AekpBQ8ST8a8VcfVOTNl353vSrDCLLJXmPk06wTjxrrjcBpXp5EOnYG_NjFZ6OvLFV1jSfS9tsz4qUxcWceqwQGk",
        "y": "ADSmRA43Z1DSNx_RvcLI87cdL07l6jQyyBXMoxVg_l2Th-x3S1WDhjDly79ajL4Kkd0AZMaZmh9ubmf63e3kyMj2"});
    let ed25519 = json!({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"});
    let joe = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
    let cases = [
        ("RFC 7515 A.2", Algorithm::Rs256, rsa, format!("eyJhbGciOiJSUzI1NiJ9.{joe}.cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw")),
        ("RFC 7515 A.3", Algorithm::Es256, p256, format!("eyJhbGciOiJFUzI1NiJ9.{joe}.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q")),
        ("RFC 7515 A.4", Algorithm::Es512, p521, "eyJhbGciOiJFUzUxMiJ9.UGF5bG9hZA.AdwMgeerwtHoh-l192l60hp9wAHZFVJbLfD_UxMi70cwnZOYaRI1bKPWROc-mZZqwqT2SI-KGDKB34XO0aw_7XdtAG8GaSwFKdCAPZgoXD2YBJZCPEX3xKpRwcdOO8KpEHwJjyqOgzDO7iKvU8vcnwNrmxYbSW9ERBXukOXolLzeO_Jn".to_owned()),
        ("RFC 8037 A.4", Algorithm::EdDsa, ed25519, "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg".to_owned()),
    ];
    for (name, algorithm, jwk, token) in cases {
        let (message, signature) = token.rsplit_once('.').unwrap();
        let holds = |message: &str| RustCrypto.verify(algorithm, &key(&jwk), message.as_bytes(), &decode(signature));
        assert!(holds(message), "{name}");
        assert!(!holds(&message.replace("eyJ", "eyK")), "{name}");
    }
}

#[test]
fn keys_survive_the_way_through_der() {
    for algorithm in Algorithm::ALL {
        let key = own(algorithm);
        let again = PublicKey::from_spki(key.spki()).unwrap();
        assert_eq!(again, key);
        assert!(RustCrypto.verify(algorithm, &again, MESSAGE, &sign(algorithm, Seed(7), MESSAGE)), "{algorithm:?}");
        for end in 0..key.spki().len() {
            assert!(PublicKey::from_spki(&key.spki()[..end]).is_err(), "{algorithm:?} {end}");
        }
    }
}

#[test]
fn weak_and_broken_keys_are_refused() {
    let modulus = decode(RSA_N);
    let even = [&modulus[..255], &[modulus[255] & 0xfe]].concat();
    let bits = |bytes: usize| [vec![0xff; bytes - 1], vec![1]].concat();
    for (what, modulus, exponent) in [
        ("1024 bits", &bits(128), &[1, 0, 1][..]),
        ("2040 bits", &bits(255), &[1, 0, 1]),
        ("8200 bits", &bits(1025), &[1, 0, 1]),
        ("a megabyte", &bits(1 << 20), &[1, 0, 1]),
        ("even modulus", &even, &[1, 0, 1]),
        ("exponent 0", &modulus, &[]),
        ("exponent 1", &modulus, &[1]),
        ("even exponent", &modulus, &[1, 0, 0]),
        ("long exponent", &modulus, &[1, 0, 0, 0, 0, 0, 1]),
    ] {
        assert!(PublicKey::rsa(modulus, exponent).is_err(), "{what}");
    }
    assert!(PublicKey::rsa(&modulus, &[3]).is_ok());
    assert!(PublicKey::rsa(&[&[0], &modulus[..]].concat(), &[0, 1, 0, 1]).is_ok(), "leading zeros are no digits");
    assert!(PublicKey::rsa(&bits(1024), &[1, 0, 1]).is_ok(), "8192 bits");
    assert!(PublicKey::ec(Curve::P256, &[1; 32], &[1; 32]).is_err(), "not on the curve");
    assert!(PublicKey::ec(Curve::P256, &[0; 32], &[0; 32]).is_err());
    assert!(PublicKey::ec(Curve::P256, &[1; 31], &[1; 32]).is_err());
    assert!(PublicKey::ed25519(&[0; 31]).is_err());
    let mut one = [0; 32];
    one[0] = 1;
    assert!(PublicKey::ed25519(&one).is_err(), "the neutral element");
    assert!(PublicKey::ed25519(&[0; 32]).is_err(), "a point of order 4");
}

#[test]
fn each_algorithm_is_checked_here() {
    assert!(Algorithm::ALL.into_iter().all(|algorithm| RustCrypto.checks(algorithm)));
}

#[test]
fn ecdsa_signatures_have_two_forms() {
    for (algorithm, curve) in
        [(Algorithm::Es256, Curve::P256), (Algorithm::Es384, Curve::P384), (Algorithm::Es512, Curve::P521)]
    {
        let signature = sign(algorithm, Seed(7), MESSAGE);
        let der = ecdsa_to_der(curve, &signature).unwrap();
        assert_eq!(ecdsa_from_der(curve, &der), Some(signature.clone()));
        assert_eq!(own(algorithm).curve(), Some(curve));
        assert!(!RustCrypto.verify(algorithm, &own(algorithm), MESSAGE, &der), "JWS has no DER");
        let hash = algorithm.hash().unwrap();
        assert!(verify_ecdsa(hash, &own(algorithm), MESSAGE, &signature));
        let other = if hash == Hash::Sha256 { Hash::Sha512 } else { Hash::Sha256 };
        assert!(!verify_ecdsa(other, &own(algorithm), MESSAGE, &signature));
        assert_eq!(ecdsa_to_der(curve, &vec![0; signature.len()]), None, "r and s are not zero");
        assert_eq!(ecdsa_to_der(curve, &vec![0xff; signature.len()]), None, "nor beyond the order");
        assert_eq!(ecdsa_to_der(curve, &signature[1..]), None);
        let (r, s) = signature.split_at(signature.len() / 2);
        assert_eq!(ecdsa_to_der(curve, &[&[0], r, &[0], s].concat()), None, "no numbers longer than the curve's");
        assert_eq!(ecdsa_from_der(curve, &der[1..]), None);
    }
    assert_eq!(own(Algorithm::Rs256).curve(), None);
    assert!(!verify_ecdsa(Hash::Sha256, &own(Algorithm::Rs256), MESSAGE, &sign(Algorithm::Rs256, Seed(7), MESSAGE)));
}
