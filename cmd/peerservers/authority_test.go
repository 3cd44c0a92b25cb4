package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// certAuthority is an ACME server (RFC 8555) that validates by dialling a
// node, whatever the name, and signs with a key of its own.
type certAuthority struct {
	tb        testing.TB
	server    *httptest.Server
	challenge string        // the type that it offers
	known     chan struct{} // closed when node is
	key       *ecdsa.PrivateKey
	cert      *x509.Certificate

	mu       sync.Mutex
	node     string          // the address behind all names
	refusal  string          // unless empty, the answer to new orders
	nonces   map[string]bool // given out and not used
	accounts []*ecdsa.PublicKey
	orders   []*certOrder
	asked    map[string]int // requests by path, numbers left out
}

// certOrder is an order, its one authorization and its one challenge.
type certOrder struct {
	name, token string
	account     int
	authorized  bool
	chain       []byte // PEM
}

func startAuthority(tb testing.TB, challenge string) *certAuthority {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	a := &certAuthority{
		tb: tb, challenge: challenge, known: make(chan struct{}), key: key,
		nonces: make(map[string]bool), asked: make(map[string]int),
	}
	a.cert = a.sign(&x509.Certificate{
		Subject: pkix.Name{CommonName: "test authority"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}, &key.PublicKey)
	a.server = httptest.NewServer(a)
	tb.Cleanup(a.server.Close)
	return a
}

// sign makes a certificate; without a parent yet, the authority's own.
func (a *certAuthority) sign(template *x509.Certificate, key any) *x509.Certificate {
	template.SerialNumber = big.NewInt(time.Now().UnixNano())
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(90*24*time.Hour)
	parent := a.cert
	if parent == nil {
		parent = template
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key, a.key)
	if err != nil {
		a.tb.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.tb.Fatal(err)
	}
	return cert
}

// point has all names lead to addr.
func (a *certAuthority) point(addr string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.node == "" {
		close(a.known)
	}
	a.node = addr
}

// address is where all names lead, as soon as that is known.
func (a *certAuthority) address(ctx context.Context) string {
	select {
	case <-a.known:
	case <-ctx.Done():
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.node
}

func (a *certAuthority) directory() string { return a.server.URL + "/directory" }

// clientConfig is of a client that trusts the authority.
func (a *certAuthority) clientConfig(name string) *tls.Config {
	roots := x509.NewCertPool()
	roots.AddCert(a.cert)
	return &tls.Config{RootCAs: roots, ServerName: name}
}

// count is how often a path was asked for; names are whom it was asked about.
func (a *certAuthority) count(path string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.asked[path]
}

func (a *certAuthority) names() (list []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, o := range a.orders {
		list = append(list, o.name)
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// problem is an error of ACME; code is the last part of its type.
type problem struct {
	status       int
	code, detail string
}

func bad(code, format string, args ...any) *problem {
	return &problem{http.StatusBadRequest, code, fmt.Sprintf(format, args...)}
}

func (a *certAuthority) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path, number, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	a.mu.Lock()
	a.asked[path]++
	nonce := rand.Text()
	a.nonces[nonce] = true
	a.mu.Unlock()
	w.Header().Set("Replay-Nonce", nonce)
	w.Header().Set("Content-Type", "application/json")
	switch {
	case path == "directory" && r.Method == http.MethodGet:
		json.NewEncoder(w).Encode(map[string]any{
			"newNonce": a.server.URL + "/nonce", "newAccount": a.server.URL + "/account", "newOrder": a.server.URL + "/order",
			"meta": map[string]string{"termsOfService": a.server.URL + "/terms"},
		})
	case path == "nonce" && r.Method == http.MethodHead:
	default:
		p := a.post(w, r, path, number)
		if p != nil {
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(p.status)
			json.NewEncoder(w).Encode(map[string]string{"type": "urn:ietf:params:acme:error:" + p.code, "detail": p.detail})
		}
	}
}

// post serves a signed request.
func (a *certAuthority) post(w http.ResponseWriter, r *http.Request, path, number string) *problem {
	payload, account, p := a.verify(r, path == "account")
	if p != nil {
		return p
	}
	if path == "account" {
		w.Header().Set("Location", a.server.URL+"/account/"+strconv.Itoa(account))
		return a.reply(w, http.StatusCreated, map[string]any{"status": "valid"})
	}
	if path == "order" && number == "" {
		return a.newOrder(w, payload, account)
	}
	n, err := strconv.Atoi(number)
	a.mu.Lock()
	if err != nil || n < 0 || n >= len(a.orders) || a.orders[n].account != account {
		a.mu.Unlock()
		return &problem{http.StatusNotFound, "malformed", "no such thing"}
	}
	o := a.orders[n]
	key := a.accounts[account]
	a.mu.Unlock()
	switch path {
	case "authorization":
		return a.reply(w, http.StatusOK, a.authorization(o, n))
	case "challenge":
		if err := a.validate(r.Context(), o, key); err != nil {
			return &problem{http.StatusForbidden, "unauthorized", err.Error()}
		}
		a.mu.Lock()
		o.authorized = true
		a.mu.Unlock()
		return a.reply(w, http.StatusOK, a.authorization(o, n)["challenges"].([]any)[0])
	case "order":
	case "finalize":
		if p := a.finalize(o, payload); p != nil {
			return p
		}
	case "certificate":
		w.Header().Set("Content-Type", "application/pem-certificate-chain")
		w.Write(o.chain)
		return nil
	default:
		return &problem{http.StatusNotFound, "malformed", path}
	}
	return a.reply(w, http.StatusOK, a.order(o, n))
}

func (a *certAuthority) reply(w http.ResponseWriter, status int, body any) *problem {
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(body)
	return nil
}

// verify checks a JWS (RFC 8555, 6.2 to 6.5) and returns what it signs.
func (a *certAuthority) verify(r *http.Request, isAccount bool) (payload []byte, account int, _ *problem) {
	if ct := r.Header.Get("Content-Type"); r.Method != http.MethodPost || ct != "application/jose+json" {
		return nil, 0, bad("malformed", "%s of %q", r.Method, ct)
	}
	var jws struct{ Protected, Payload, Signature string }
	if err := json.NewDecoder(r.Body).Decode(&jws); err != nil {
		return nil, 0, bad("malformed", "%v", err)
	}
	var head struct {
		Alg, Nonce, URL, KID string
		JWK                  *struct{ Kty, Crv, X, Y string }
	}
	if err := json.Unmarshal(unbase64(jws.Protected), &head); err != nil || head.Alg != "ES256" {
		return nil, 0, bad("malformed", "alg %q: %v", head.Alg, err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.nonces[head.Nonce] {
		return nil, 0, bad("badNonce", "%q", head.Nonce)
	}
	delete(a.nonces, head.Nonce)
	if head.URL != a.server.URL+r.URL.Path {
		return nil, 0, bad("unauthorized", "url %q on %q", head.URL, r.URL.Path)
	}
	if isAccount != (head.JWK != nil) || isAccount == (head.KID != "") {
		return nil, 0, bad("malformed", "a jwk for a new account, a kid for all else")
	}
	if isAccount {
		account = len(a.accounts)
		point := slices.Concat([]byte{4}, unbase64(head.JWK.X), unbase64(head.JWK.Y))
		key, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point)
		if err != nil {
			return nil, 0, bad("badPublicKey", "%v", err)
		}
		a.accounts = append(a.accounts, key)
	} else {
		var err error
		account, err = strconv.Atoi(strings.TrimPrefix(head.KID, a.server.URL+"/account/"))
		if err != nil || account < 0 || account >= len(a.accounts) {
			return nil, 0, bad("accountDoesNotExist", "kid %q", head.KID)
		}
	}
	sum, sig := sha256.Sum256([]byte(jws.Protected+"."+jws.Payload)), unbase64(jws.Signature)
	if len(sig) != 64 || !ecdsa.Verify(a.accounts[account], sum[:], new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:])) {
		return nil, 0, bad("malformed", "signature")
	}
	return unbase64(jws.Payload), account, nil
}

// unbase64 decodes; what is broken is empty and fails the check that follows.
func unbase64(s string) []byte {
	b, _ := base64.RawURLEncoding.DecodeString(s)
	return b
}

func (a *certAuthority) newOrder(w http.ResponseWriter, payload []byte, account int) *problem {
	var body struct {
		Identifiers []struct{ Type, Value string }
	}
	if err := json.Unmarshal(payload, &body); err != nil || len(body.Identifiers) != 1 || body.Identifiers[0].Type != "dns" {
		return bad("malformed", "order %s", payload)
	}
	o := &certOrder{name: body.Identifiers[0].Value, token: rand.Text(), account: account}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.refusal != "" {
		return &problem{http.StatusForbidden, "rejectedIdentifier", a.refusal}
	}
	a.orders = append(a.orders, o)
	n := len(a.orders) - 1
	w.Header().Set("Location", fmt.Sprintf("%s/order/%d", a.server.URL, n))
	return a.reply(w, http.StatusCreated, a.orderLocked(o, n))
}

func (a *certAuthority) order(o *certOrder, n int) map[string]any {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.orderLocked(o, n)
}

func (a *certAuthority) orderLocked(o *certOrder, n int) map[string]any {
	at := func(what string) string { return fmt.Sprintf("%s/%s/%d", a.server.URL, what, n) }
	doc := map[string]any{
		"status": "pending", "identifiers": []any{map[string]string{"type": "dns", "value": o.name}},
		"authorizations": []string{at("authorization")}, "finalize": at("finalize"),
	}
	if o.authorized {
		doc["status"] = "ready"
	}
	if o.chain != nil {
		doc["status"], doc["certificate"] = "valid", at("certificate")
	}
	return doc
}

func (a *certAuthority) authorization(o *certOrder, n int) map[string]any {
	a.mu.Lock()
	defer a.mu.Unlock()
	status := "pending"
	if o.authorized {
		status = "valid"
	}
	return map[string]any{
		"status": status, "identifier": map[string]string{"type": "dns", "value": o.name},
		"challenges": []any{map[string]string{
			"type": a.challenge, "status": status, "token": o.token, "url": fmt.Sprintf("%s/challenge/%d", a.server.URL, n),
		}},
	}
}

func (a *certAuthority) finalize(o *certOrder, payload []byte) *problem {
	var body struct{ CSR string }
	if err := json.Unmarshal(payload, &body); err != nil {
		return bad("malformed", "%v", err)
	}
	csr, err := x509.ParseCertificateRequest(unbase64(body.CSR))
	if err != nil || csr.CheckSignature() != nil || !slices.Equal(csr.DNSNames, []string{o.name}) {
		return bad("badCSR", "%v", err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if !o.authorized {
		return &problem{http.StatusForbidden, "orderNotReady", o.name}
	}
	leaf := a.sign(&x509.Certificate{
		DNSNames: csr.DNSNames, KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, csr.PublicKey)
	for _, c := range []*x509.Certificate{leaf, a.cert} {
		o.chain = append(o.chain, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	return nil
}
