// Minidyn serves github.com/truora/minidyn, an in-memory stand-in for DynamoDB
// which comes as a library, until it is killed.
package main

import (
	"flag"
	"log"
	"net/http"

	"github.com/truora/minidyn/server"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:8000", "`host:port` to listen on")
	flag.Parse()
	log.Fatal(http.ListenAndServe(*addr, server.NewServer()))
}
