package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	"golang.org/x/crypto/acme"
)

// validate does what the name of the challenge says, at the node.
func (a *certAuthority) validate(ctx context.Context, o *certOrder, account *ecdsa.PublicKey) error {
	thumbprint, err := acme.JWKThumbprint(account)
	if err != nil {
		return err
	}
	authorization := o.token + "." + thumbprint
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if a.challenge == "http-01" {
		return a.validateHTTP(ctx, o, authorization)
	}
	return a.validateTLS(ctx, o.name, authorization)
}

// validateHTTP is RFC 8555, 8.3.
func (a *certAuthority) validateHTTP(ctx context.Context, o *certOrder, authorization string) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+a.address(ctx)+"/.well-known/acme-challenge/"+o.token, nil)
	if err != nil {
		return err
	}
	r.Host = o.name
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK || string(body) != authorization {
		return fmt.Errorf("%s %q, want %q (%v)", resp.Status, body, authorization, err)
	}
	return nil
}

// validateTLS is RFC 8737, 3.
func (a *certAuthority) validateTLS(ctx context.Context, name, authorization string) error {
	d := tls.Dialer{Config: &tls.Config{ServerName: name, NextProtos: []string{acme.ALPNProto}, InsecureSkipVerify: true}}
	nc, err := d.DialContext(ctx, "tcp", a.address(ctx))
	if err != nil {
		return err
	}
	defer nc.Close()
	state := nc.(*tls.Conn).ConnectionState()
	cert := state.PeerCertificates[0]
	if state.NegotiatedProtocol != acme.ALPNProto || !slices.Equal(cert.DNSNames, []string{name}) {
		return fmt.Errorf("protocol %q, names %q", state.NegotiatedProtocol, cert.DNSNames)
	}
	sum := sha256.Sum256([]byte(authorization))
	want, err := asn1.Marshal(sum[:])
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(cert.Extensions, func(e pkix.Extension) bool {
		return e.Id.Equal(asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 31}) && e.Critical && bytes.Equal(e.Value, want)
	}) {
		return fmt.Errorf("the certificate does not have the authorization")
	}
	nc.SetReadDeadline(time.Now().Add(patience))
	if _, err := nc.Read(make([]byte, 1)); err != io.EOF {
		return fmt.Errorf("the connection goes on after the handshake: %v", err)
	}
	return nil
}
