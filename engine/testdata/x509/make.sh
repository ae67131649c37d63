#!/usr/bin/env bash
# Makes the certificates of this folder anew: for each kind of CA key and signature one file with a client's certificate
# and its CA, and some others. No private key is kept. Needs OpenSSL 3.
set -euo pipefail
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -r "$work"' EXIT

# make NAME DIGEST-AND-PADDING -- KEY-OPTIONS
make() {
    local name=$1 signature=$2
    shift 3
    openssl genpkey "$@" -out "$work/ca.key" 2> "$work/log"
    # shellcheck disable=SC2086 # a list of options
    openssl req -x509 -key "$work/ca.key" -days 36500 -subj "/O=Sidegate/CN=$name CA" $signature \
        -addext keyUsage=critical,keyCertSign -out "$work/ca.pem"
    openssl genpkey -algorithm ED25519 -out "$work/leaf.key"
    openssl req -new -key "$work/leaf.key" -subj "/C=UK/L=London/O=Sidegate/CN=$name" -out "$work/leaf.csr"
    # shellcheck disable=SC2086
    openssl x509 -req -in "$work/leaf.csr" -CA "$work/ca.pem" -CAkey "$work/ca.key" -days 36500 $signature \
        -extfile <(printf 'extendedKeyUsage=clientAuth\nsubjectAltName=URI:spiffe://example.com/%s\n' "$name") \
        -out "$work/leaf.pem" 2> "$work/log"
    cat "$work/leaf.pem" "$work/ca.pem" > "$name.pem"
}

for digest in sha1 sha256 sha384 sha512; do
    make "rsa2048-$digest" -$digest -- -algorithm RSA -pkeyopt rsa_keygen_bits:2048
    make "rsa2048-pss-$digest" "-$digest -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:digest" \
        -- -algorithm RSA -pkeyopt rsa_keygen_bits:2048
    for curve in P-256 P-384 P-521; do
        make "$(tr -d - <<< "${curve,,}")-$digest" -$digest -- -algorithm EC -pkeyopt ec_paramgen_curve:$curve
    done
done
make rsa4096-sha256 -sha256 -- -algorithm RSA -pkeyopt rsa_keygen_bits:4096
make rsa1024-sha256 -sha256 -- -algorithm RSA -pkeyopt rsa_keygen_bits:1024
make secp256k1-sha256 -sha256 -- -algorithm EC -pkeyopt ec_paramgen_curve:secp256k1
make ed25519 "" -- -algorithm ED25519
make ed448 "" -- -algorithm ED448

# A CA of version 1, which has no extensions, and a subject whose attributes come more than once.
openssl req -new -key "$work/leaf.key" -subj "/CN=old CA" -out "$work/old.csr"
openssl x509 -req -in "$work/old.csr" -signkey "$work/leaf.key" -days 36500 -out version1.pem 2> "$work/log"
openssl req -x509 -key "$work/leaf.key" -days 36500 -subj "/OU=a/CN=first/OU=b/CN=second" -out repeated.pem
