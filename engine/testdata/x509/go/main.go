// Makes go.json: certificates, and what Go's crypto/x509 says of them, as Authorino uses it.
//
//	go run main.go && mv cases.json ../go.json
package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"os"
	"time"
)

type Case struct {
	Name    string
	Chain   []string
	Roots   []string
	Now     int64
	Err     string
	Subject json.RawMessage
}

var t0 = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
var t1 = time.Date(2026, 12, 31, 0, 0, 0, 0, time.UTC)
var now = time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC)
var serial int64 = 1

type CA struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func tmpl(cn string) *x509.Certificate {
	serial++
	return &x509.Certificate{SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: cn}, NotBefore: t0, NotAfter: t1}
}
func mk(t *x509.Certificate, parent *CA) CA {
	k, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	p, pk := t, k
	if parent != nil {
		p, pk = parent.cert, parent.key
	}
	der, err := x509.CreateCertificate(rand.Reader, t, p, &k.PublicKey, pk)
	if err != nil {
		panic(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		fmt.Fprintln(os.Stderr, "unparsable", t.Subject, err)
		return CA{&x509.Certificate{Raw: der}, k}
	}
	return CA{c, k}
}
func ca(cn string) *x509.Certificate {
	t := tmpl(cn)
	t.IsCA = true
	t.BasicConstraintsValid = true
	t.KeyUsage = x509.KeyUsageCertSign
	return t
}
func leaf(cn string) *x509.Certificate {
	t := tmpl(cn)
	t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	return t
}

var out []Case

func run(name string, roots []CA, now time.Time, chain ...CA) {
	c := Case{Name: name, Now: now.Unix()}
	pool, inter := x509.NewCertPool(), x509.NewCertPool()
	for _, r := range roots {
		pool.AddCert(r.cert)
		c.Roots = append(c.Roots, base64.StdEncoding.EncodeToString(r.cert.Raw))
	}
	for i, x := range chain {
		if i > 0 {
			inter.AddCert(x.cert)
		}
		c.Chain = append(c.Chain, base64.StdEncoding.EncodeToString(x.cert.Raw))
	}
	l, err := x509.ParseCertificate(chain[0].cert.Raw)
	if err == nil {
		_, err = l.Verify(x509.VerifyOptions{Roots: pool, Intermediates: inter, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
		j, _ := json.Marshal(l.Subject)
		c.Subject = j
	} else {
		err = fmt.Errorf("parse: %w", err)
	}
	if err != nil {
		c.Err = err.Error()
	}
	out = append(out, c)
}

func main() {
	root := mk(ca("root"), nil)
	R := []CA{root}
	with := func(f func(t *x509.Certificate)) CA { t := leaf("alice"); f(t); return mk(t, &root) }
	sub := func(f func(t *x509.Certificate)) CA { t := ca("sub"); f(t); return mk(t, &root) }
	run("plain", R, now, mk(leaf("alice"), &root))
	other := mk(ca("other"), nil)
	run("unknown", R, now, mk(leaf("alice"), &other))
	imp := mk(ca("root"), nil)
	run("impostor", R, now, mk(leaf("alice"), &imp))
	run("no roots", nil, now, mk(leaf("alice"), &root))
	run("expired", R, t1.Add(time.Second), mk(leaf("alice"), &root))
	run("early", R, t0.Add(-time.Second), mk(leaf("alice"), &root))
	run("boundary", R, t1, mk(leaf("alice"), &root))
	run("root expired", R, t1.Add(time.Second), with(func(t *x509.Certificate) { t.NotAfter = t1.AddDate(5, 0, 0) }))
	run("eku server", R, now, with(func(t *x509.Certificate) { t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }))
	run("eku none", R, now, with(func(t *x509.Certificate) { t.ExtKeyUsage = nil }))
	run("eku any", R, now, with(func(t *x509.Certificate) { t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageAny} }))
	run("eku unknown", R, now, with(func(t *x509.Certificate) {
		t.ExtKeyUsage = nil
		t.UnknownExtKeyUsage = []asn1.ObjectIdentifier{{1, 2, 3, 4}}
	}))
	run("ku odd", R, now, with(func(t *x509.Certificate) { t.KeyUsage = x509.KeyUsageCRLSign }))
	run("critical unknown", R, now, with(func(t *x509.Certificate) {
		t.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 2, 3, 4}, Critical: true, Value: []byte{5, 0}}}
	}))
	run("critical policies", R, now, with(func(t *x509.Certificate) {
		t.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 32}, Critical: true, Value: []byte{0x30, 6, 0x30, 4, 6, 2, 0x2a, 3}}}
	}))
	run("critical key identifier", R, now, with(func(t *x509.Certificate) {
		t.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 14}, Critical: true, Value: []byte{4, 1, 1}}}
	}))
	run("leaf is CA", R, now, func() CA {
		t := ca("alice")
		t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
		return mk(t, &root)
	}())
	run("root as leaf", R, now, root)
	self := mk(leaf("self"), nil)
	run("self-signed leaf as root", []CA{self}, now, self)
	pinned := mk(leaf("pinned"), &other)
	run("pinned leaf as root", []CA{pinned}, now, pinned)
	s := sub(func(*x509.Certificate) {})
	run("intermediate", R, now, mk(leaf("alice"), &s), s)
	run("intermediate missing", R, now, mk(leaf("alice"), &s))
	run("intermediate as root", []CA{s}, now, mk(leaf("alice"), &s))
	s = sub(func(t *x509.Certificate) { t.KeyUsage = x509.KeyUsageDigitalSignature })
	run("intermediate ku", R, now, mk(leaf("alice"), &s), s)
	s = sub(func(t *x509.Certificate) { t.KeyUsage = 0 })
	run("intermediate no ku", R, now, mk(leaf("alice"), &s), s)
	s = sub(func(t *x509.Certificate) { t.IsCA = false })
	run("intermediate no ca", R, now, mk(leaf("alice"), &s), s)
	s = sub(func(t *x509.Certificate) { t.IsCA = false; t.BasicConstraintsValid = false })
	run("intermediate no bc", R, now, mk(leaf("alice"), &s), s)
	s = sub(func(t *x509.Certificate) { t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} })
	run("intermediate eku", R, now, mk(leaf("alice"), &s), s)
	s = sub(func(t *x509.Certificate) { t.NotAfter = now.Add(-time.Hour) })
	run("intermediate expired", R, now, mk(leaf("alice"), &s), s)
	s = sub(func(t *x509.Certificate) { t.MaxPathLen = 0; t.MaxPathLenZero = true })
	s2 := mk(ca("sub2"), &s)
	run("pathlen ok", R, now, mk(leaf("alice"), &s), s)
	run("pathlen", R, now, mk(leaf("alice"), &s2), s2, s)
	rt := ca("rserver")
	rt.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	rs := mk(rt, nil)
	run("root eku server", []CA{rs}, now, mk(leaf("alice"), &rs))
	rt = ca("rku")
	rt.KeyUsage = x509.KeyUsageCRLSign
	rs = mk(rt, nil)
	run("root ku", []CA{rs}, now, mk(leaf("alice"), &rs))
	rt = ca("rnoca")
	rt.IsCA = false
	rt.BasicConstraintsValid = false
	rs = mk(rt, nil)
	run("root no bc", []CA{rs}, now, mk(leaf("alice"), &rs))
	rt = ca("rnc")
	rt.PermittedDNSDomains = []string{"example.com"}
	rs = mk(rt, nil)
	l := leaf("alice")
	l.DNSNames = []string{"a.example.org"}
	run("nc bad", []CA{rs}, now, mk(l, &rs))
	l = leaf("alice")
	l.DNSNames = []string{"a.example.com"}
	run("nc ok", []CA{rs}, now, mk(l, &rs))
	run("nc no san", []CA{rs}, now, mk(leaf("alice"), &rs))
	big1 := leaf("bigserial")
	big1.SerialNumber = new(big.Int).Lsh(big.NewInt(1), 158)
	run("serial 20", R, now, mk(big1, &root))
	run("names", R, now, with(func(t *x509.Certificate) {
		t.Subject = pkix.Name{Country: []string{"UK", "DE"}, Organization: []string{"Acme <&> Co"}, OrganizationalUnit: []string{"z", "a"}, Locality: []string{"L"}, Province: []string{"P"}, StreetAddress: []string{"S"}, PostalCode: []string{"PC"}, SerialNumber: "sn", CommonName: "Zoë 🦀",
			ExtraNames: []pkix.AttributeTypeAndValue{{Type: asn1.ObjectIdentifier{0, 9, 2342, 19200300, 100, 1, 1}, Value: "uid"}}}
	}))
	run("empty subject", R, now, with(func(t *x509.Certificate) { t.Subject = pkix.Name{}; t.DNSNames = []string{"x"} }))
	for _, tag := range []int{12, 18, 19, 20, 22, 28, 30, 2} {
		val := []byte("Zo*e@1")
		if tag == 30 {
			val = []byte{0, 'Z', 0, 'o', 0, 0xeb, 0, 0}
		}
		if tag == 20 {
			val = []byte{'Z', 0xeb}
		}
		if tag == 18 {
			val = []byte("12 3")
		}
		if tag == 2 {
			val = []byte{1}
		}
		raw, _ := asn1.Marshal(pkix.RDNSequence{{{Type: asn1.ObjectIdentifier{2, 5, 4, 3}, Value: asn1.RawValue{Tag: tag, Bytes: val}}}})
		run(fmt.Sprintf("tag %d", tag), R, now, with(func(t *x509.Certificate) { t.RawSubject = raw }))
	}
	// a multi-valued RDN, in and out of DER order
	for i, rdn := range [][]pkix.AttributeTypeAndValue{
		{{Type: asn1.ObjectIdentifier{2, 5, 4, 3}, Value: "cn"}, {Type: asn1.ObjectIdentifier{2, 5, 4, 10}, Value: "o"}},
		{{Type: asn1.ObjectIdentifier{2, 5, 4, 10}, Value: "o"}, {Type: asn1.ObjectIdentifier{2, 5, 4, 3}, Value: "cn"}},
		{{Type: asn1.ObjectIdentifier{2, 5, 4, 3}, Value: "cn"}, {Type: asn1.ObjectIdentifier{2, 5, 4, 3}, Value: "cn"}},
	} {
		raw, err := asn1.Marshal(pkix.RDNSequence{rdn})
		if err != nil {
			panic(err)
		}
		run([]string{"set", "set in another order", "repeated attribute in a set"}[i], R, now, with(func(t *x509.Certificate) { t.RawSubject = raw }))
	}
	j, _ := json.MarshalIndent(out, "", " ")
	os.WriteFile("cases.json", append(j, '\n'), 0o644)
}
