#!/usr/bin/env bash
# Makes an authority and certificates of workloads in ./certs, to try things out: certificates.sh NAMESPACE/SERVICEACCOUNT...
set -euo pipefail
mkdir -p certs
cd certs

# key NAME
key() {
  openssl genpkey -quiet -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1.key"
  # Envoy's image reads it as another user.
  chmod 644 "$1.key"
}

# workload NAMESPACE SERVICEACCOUNT
workload() {
  key "$2"
  openssl req -new -key "$2.key" -subj "/O=example" -out "$2.csr"
  openssl x509 -req -in "$2.csr" -CA ca.pem -CAkey ca.key -days 30 -out "$2.pem" 2>/dev/null -extfile /dev/stdin <<EXTENSIONS
basicConstraints = critical, CA:false
keyUsage = critical, digitalSignature
extendedKeyUsage = clientAuth, serverAuth
subjectAltName = URI:spiffe://cluster.local/ns/$1/sa/$2
EXTENSIONS
  rm "$2.csr"
}

key ca
openssl req -x509 -new -key ca.key -subj "/O=example/CN=mesh" -days 30 -out ca.pem
for name in "$@"; do
  workload "${name%/*}" "${name#*/}"
done
