package settle

import (
	"errors"
	"net"
	"slices"
)

// Unconnected reports whether an error says that no connection came about, to the
// server or to a proxy in front of it: then nothing was sent.
func Unconnected(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && slices.Contains([]string{"dial", "proxyconnect", "socks connect"}, op.Op)
}
