package tfconfig_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/sas"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/httpbackend/server"
	"github.com/statelatch/statelatch/internal/azurecloud"
	"github.com/statelatch/statelatch/internal/testservice"
	"github.com/statelatch/statelatch/memory"
)

// A site is a place for states, and how a directory says it.
type site struct {
	block  map[string]string // what is in the backend block: HCL by name
	file   map[string]string // what may be left to a file of -backend-config
	option []string          // and what to pairs: NAME=VALUE
	env    []string          // what the program and we find in the environment

	stored func(workspace string) string // for local: the file of a state
}

// A service makes sites. Its server starts when the first one is made.
type service struct {
	typ        string
	workspaces bool
	site       func(t *testing.T, program string) site
}

var (
	minio   = testservice.New(testservice.MinIO)
	fakegcs = testservice.New(testservice.FakeGCS)
	azurite = testservice.New(testservice.Azurite)
	agent   = testservice.New(testservice.Consul)
)

var sites = []service{
	{"local", true, func(*testing.T, string) site {
		return site{file: map[string]string{"path": `"states/main.tfstate"`}, option: []string{"workspace_dir=states/others"}, stored: func(workspace string) string {
			if workspace == backend.DefaultWorkspace {
				return "states/main.tfstate"
			}
			return "states/others/" + workspace + "/terraform.tfstate"
		}}
	}},
	{"s3", true, func(t *testing.T, _ string) site {
		s, bucket := minio.Start(t), testservice.Name(t)
		client := s3.New(s3.Options{BaseEndpoint: &s.Endpoint, Region: s.Region, UsePathStyle: true, Credentials: credentials.NewStaticCredentialsProvider(s.AccessKey, s.SecretKey, "")})
		if _, err := client.CreateBucket(context.Background(), &s3.CreateBucketInput{Bucket: aws.String(bucket)}); err != nil {
			t.Fatal(err)
		}
		return site{
			block: map[string]string{"key": `"a/terraform.tfstate"`, "use_lockfile": "true", "use_path_style": "true", "skip_credentials_validation": "true",
				"skip_requesting_account_id": "true", "skip_metadata_api_check": "true", "workspace_key_prefix": `"spaces"`},
			file:   map[string]string{"endpoints": fmt.Sprintf("{ s3 = %q }", s.Endpoint), "region": fmt.Sprintf("%q", s.Region)},
			option: []string{"bucket=" + bucket},
			env:    []string{"AWS_ACCESS_KEY_ID=" + s.AccessKey, "AWS_SECRET_ACCESS_KEY=" + s.SecretKey},
		}
	}},
	{"gcs", true, func(t *testing.T, _ string) site {
		s, bucket := fakegcs.Start(t), testservice.Name(t)
		reply, err := http.Post(s.Endpoint+"/storage/v1/b?project=test", "application/json", strings.NewReader(fmt.Sprintf(`{"name":%q}`, bucket)))
		if err != nil || reply.StatusCode != http.StatusOK {
			t.Fatal(reply, err)
		}
		reply.Body.Close()
		return site{
			block:  map[string]string{"prefix": `"a/b"`},
			file:   map[string]string{"storage_custom_endpoint": fmt.Sprintf("%q", s.Endpoint+"/storage/v1/b")},
			option: []string{"bucket=" + bucket},
			env:    []string{"GOOGLE_OAUTH_ACCESS_TOKEN=token"},
		}
	}},
	{"azurerm", true, azure},
	{"consul", true, func(t *testing.T, _ string) site {
		s := agent.Start(t)
		return site{
			file:   map[string]string{"scheme": `"http"`, "gzip": "true"},
			option: []string{"path=" + testservice.Name(t)},
			env:    []string{"CONSUL_HTTP_ADDR=" + s.Addr, "CONSUL_HTTP_TOKEN=" + s.Token},
		}
	}},
	{"http", false, func(t *testing.T, _ string) site {
		handler, err := server.New(memory.New(), server.Options{Auth: server.Basic(map[string]string{"user": "a password"})})
		if err != nil {
			t.Fatal(err)
		}
		s := httptest.NewServer(handler)
		t.Cleanup(s.Close)
		return site{
			block:  map[string]string{"update_method": `"PUT"`},
			file:   map[string]string{"lock_address": fmt.Sprintf("%q", s.URL+"/default"), "unlock_address": fmt.Sprintf("%q", s.URL+"/default")},
			option: []string{"username=user"},
			env:    []string{"TF_HTTP_ADDRESS=" + s.URL + "/default", "TF_HTTP_PASSWORD=a password"},
		}
	}},
}

// azure makes a container, in a cloud of its own. What each program enters with is as
// package azurecloud says.
func azure(t *testing.T, program string) site {
	s, name := azurite.Start(t), testservice.Name(t)
	key, err := container.NewSharedKeyCredential(s.AccessKey, s.SecretKey)
	if err != nil {
		t.Fatal(err)
	}
	client, err := container.NewClientWithSharedKeyCredential(s.Endpoint+"/"+name, key, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Create(context.Background(), nil); err != nil {
		t.Fatal(err)
	}
	may := sas.ContainerPermissions{Read: true, Add: true, Create: true, Write: true, Delete: true, List: true}
	signed, err := client.GetSASURL(may, time.Now().Add(time.Hour), nil)
	if err != nil {
		t.Fatal(err)
	}
	_, token, _ := strings.Cut(signed, "?")

	secret := "ARM_ACCESS_KEY=" + s.SecretKey
	if program == "terraform" {
		secret = "ARM_SAS_TOKEN=" + token
	}
	return site{
		block:  map[string]string{"key": `"prod.tfstate"`},
		file:   map[string]string{"storage_account_name": fmt.Sprintf("%q", s.AccessKey), "metadata_host": fmt.Sprintf("%q", azurecloud.MetadataHost)},
		option: []string{"container_name=" + name},
		env:    append(azurecloud.Start(t, s.Endpoint).Env, secret),
	}
}
