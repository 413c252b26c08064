// Package all has every driver of this module, for programs that open whatever a
// user names. It links every service's client; a program that knows its services
// makes a Mux of their own drivers.
package all

import (
	"github.com/statelatch/statelatch/azblob"
	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/consul"
	"github.com/statelatch/statelatch/gcs"
	"github.com/statelatch/statelatch/httpbackend"
	"github.com/statelatch/statelatch/local"
	"github.com/statelatch/statelatch/memory"
	"github.com/statelatch/statelatch/s3"
)

// Mux returns a Mux of every driver: local, s3, gcs (or gs), azurerm (or azblob),
// consul, http (or https), and memory, whose states end with the Backend.
func Mux() *backend.Mux {
	return backend.NewMux(local.Driver, s3.Driver, gcs.Driver, azblob.Driver, consul.Driver, httpbackend.Driver, memory.Driver)
}
