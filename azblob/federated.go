package azblob

import (
	"context"
	"crypto"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/statelatch/statelatch/backend"
)

// certificate reads the client's certificate.
func (i Identity) certificate() ([]*x509.Certificate, crypto.PrivateKey, error) {
	name, data, err := "client_certificate", []byte(nil), error(nil)
	if i.ClientCertificate != "" {
		data, err = base64.StdEncoding.DecodeString(string(i.ClientCertificate))
	} else {
		name = "client_certificate_path"
		data, err = os.ReadFile(i.ClientCertificatePath)
	}
	if err != nil {
		return nil, nil, &backend.SettingError{Name: name, Err: notFS(err)}
	}
	certificates, key, err := azidentity.ParseCertificates(data, []byte(i.ClientCertificatePassword))
	if err != nil {
		return nil, nil, &backend.SettingError{Name: name, Err: fmt.Errorf("it is not a PKCS#12 bundle that client_certificate_password opens: %v", err)}
	}
	return certificates, key, nil
}

// audience is for whom a federated token is issued.
const audience = "api://AzureADTokenExchange"

// assertion returns what fetches the federated token: as it is set, or from the CI
// system.
func (i Identity) assertion(transport policy.Transporter) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		switch {
		case i.OIDCToken != "":
			return string(i.OIDCToken), nil
		case i.OIDCTokenFile != "": // each time: it is renewed
			data, err := os.ReadFile(i.OIDCTokenFile)
			if err != nil {
				return "", notFS(err)
			}
			return strings.TrimSpace(string(data)), nil
		}
		return i.requestToken(ctx, transport)
	}
}

// requestToken asks Azure DevOps, if there is a service connection, or else GitHub.
func (i Identity) requestToken(ctx context.Context, transport policy.Transporter) (string, error) {
	endpoint, err := url.Parse(i.OIDCRequestURL)
	if err != nil {
		return "", errors.New("oidc_request_url is no URL")
	}
	method, query := http.MethodGet, endpoint.Query()
	if i.ADOServiceConnection != "" {
		method = http.MethodPost
		query.Set("api-version", "7.1")
		query.Set("serviceConnectionId", i.ADOServiceConnection)
	} else if !query.Has("audience") {
		query.Set("audience", audience)
	}
	endpoint.RawQuery = query.Encode()
	request, err := http.NewRequestWithContext(ctx, method, endpoint.String(), nil)
	if err != nil {
		return "", err
	}
	request.Header.Set("Authorization", "Bearer "+string(i.OIDCRequestToken))
	request.Header.Set("Accept", "application/json")
	request.Header.Set("Content-Type", "application/json")
	var reply struct{ Value, OIDCToken string }
	if err := fetch(transport, request, &reply); err != nil {
		return "", fmt.Errorf("requesting a token from %s: %w", endpoint.Host, bare(err))
	}
	if token := reply.Value + reply.OIDCToken; token != "" {
		return token, nil
	}
	return "", fmt.Errorf("%s replied without a token", endpoint.Host)
}

// fetch makes a request, and reads the JSON of the reply.
func fetch(transport policy.Transporter, request *http.Request, into any) error {
	reply, err := transport.Do(request)
	if err != nil {
		return err
	}
	defer reply.Body.Close()
	data, err := io.ReadAll(io.LimitReader(reply.Body, 1<<20))
	switch {
	case err != nil:
		return err
	case reply.StatusCode != http.StatusOK:
		return fmt.Errorf("HTTP %s", reply.Status)
	case json.Unmarshal(data, into) != nil:
		return errors.New("the reply is not the JSON that was expected")
	}
	return nil
}
