package s3_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/lock"
	"github.com/statelatch/statelatch/s3"
)

// TestNoCredentials: what a service that gives credentials answers, or that it cannot
// be reached, says nothing about a state.
func TestNoCredentials(t *testing.T) {
	replied := func(status int, err error) error {
		return &smithyhttp.ResponseError{Response: &smithyhttp.Response{Response: &http.Response{StatusCode: status}}, Err: err}
	}
	dial := &smithyhttp.RequestSendError{Err: &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("no route to host")}}
	for name, test := range map[string]struct {
		err  error
		kind error
	}{
		"none":             {errors.New("static credentials are empty"), backend.ErrPermission},
		"no role":          {fmt.Errorf("no EC2 IMDS role found, %w", replied(404, errors.New("not found"))), backend.ErrPermission},
		"no machine":       {fmt.Errorf("no EC2 IMDS role found, %w", dial), backend.ErrPermission},
		"denied":           {replied(403, &smithy.GenericAPIError{Code: "AccessDenied", Message: "not allowed to assume the role"}), backend.ErrPermission},
		"no such role":     {replied(404, &smithy.GenericAPIError{Code: "NoSuchKey"}), backend.ErrPermission},
		"expired":          {replied(400, &smithy.GenericAPIError{Code: "ExpiredTokenException", Message: "expired"}), backend.ErrPermission},
		"out of reach":     {fmt.Errorf("operation error STS: AssumeRole, %w", dial), backend.ErrTransient},
		"throttled":        {replied(400, &smithy.GenericAPIError{Code: "Throttling"}), backend.ErrTransient},
		"failing":          {replied(500, errors.New("internal")), backend.ErrTransient},
		"changed password": {replied(412, &smithy.GenericAPIError{Code: "PreconditionFailed"}), backend.ErrPermission},
	} {
		t.Run(name, func(t *testing.T) {
			n := setup{objects: versitygw, file: true}.open(t)
			c := n.client(t, wire{}, func(c *s3.Config) {
				c.MaxRetries = 1
				o := c.Client.Options()
				o.Credentials = aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) { return aws.Credentials{}, test.err })
				c.Client = sdk.New(o)
			})
			_, read := c.Read(t.Context(), "default")
			_, write := c.Write(t.Context(), "default", []byte("x"), backend.Condition{})
			_, locked := c.Lock(t.Context(), "default", lock.NewInfo("test"))
			for doing, err := range map[string]error{"Read": read, "Write": write, "Lock": locked} {
				var kinds *backend.Error
				if !errors.As(err, &kinds) || kinds.Kind != test.kind {
					t.Errorf("%s: %v; want %v", doing, err, test.kind)
				}
				if !strings.Contains(fmt.Sprint(err), "credentials") || strings.Contains(fmt.Sprint(err), "s3:") {
					t.Errorf("%s: it does not speak of credentials, or of permissions on the bucket: %v", doing, err)
				}
			}
		})
	}
}

// TestNoRequest: the settings are at fault.
func TestNoRequest(t *testing.T) {
	n := setup{objects: versitygw, file: true}.open(t)
	c := n.client(t, wire{}, func(c *s3.Config) {
		o := c.Client.Options()
		o.Region, o.BaseEndpoint = "", nil
		c.Client = sdk.New(o)
	})
	if _, err := c.Read(t.Context(), "default"); !errors.Is(err, backend.ErrInvalid) || !strings.Contains(err.Error(), "region") {
		t.Errorf("Read: %v", err)
	}
}
