#!/usr/bin/env bash
# Makes an authority and certificates of workloads, to try things out: certificates.sh FOLDER
set -euo pipefail
mkdir -p "$1"
cd "$1"

# key NAME
key() {
  openssl genpkey -quiet -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1.key"
  # Envoy's image reads it as another user.
  chmod 644 "$1.key"
}

# workload NAME SPIFFE-ID
workload() {
  key "$1"
  openssl req -new -key "$1.key" -subj "/O=example" -out "$1.csr"
  openssl x509 -req -in "$1.csr" -CA ca.pem -CAkey ca.key -days 30 -out "$1.pem" 2>/dev/null -extfile /dev/stdin <<EXTENSIONS
basicConstraints = critical, CA:false
keyUsage = critical, digitalSignature
extendedKeyUsage = clientAuth, serverAuth
subjectAltName = URI:$2
EXTENSIONS
  rm "$1.csr"
}

key ca
openssl req -x509 -new -key ca.key -subj "/O=example/CN=mesh" -days 30 -out ca.pem
workload api spiffe://cluster.local/ns/prod/sa/api
workload sleep spiffe://cluster.local/ns/foo/sa/sleep
workload other spiffe://cluster.local/ns/bar/sa/other
