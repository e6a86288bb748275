package client_test

import (
	"context"
	"fmt"
	"log"
	"strings"

	"manifold/client"
)

// Sign in, trusting the one certificate that the server is known to have.
func ExampleNew() {
	ctx := context.Background()
	c, err := client.New("storage.example.com", client.WithTrust(client.Pinned("5d:53:51:e0")))
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	if err := c.Login(ctx, "admin", "secret"); err != nil {
		log.Fatal(err)
	}
}

// Make a directory with a quota, and a file in it.
func ExampleClient_Write() {
	ctx := context.Background()
	c, err := client.New("storage.example.com", client.WithToken("access-v1:..."))
	if err != nil {
		log.Fatal(err)
	}
	dir, err := c.Mkdir(ctx, "/", "projects")
	if err != nil {
		log.Fatal(err) // client.IsClass(err, "fs_entry_exists_error") if it is there
	}
	if err := c.CreateQuota(ctx, dir.ID, 500<<30); err != nil {
		log.Fatal(err)
	}
	if _, err := c.Create(ctx, client.RefOf(dir.ID), "readme"); err != nil {
		log.Fatal(err)
	}
	if _, err := c.Write(ctx, "/projects/readme", strings.NewReader("hello"), ""); err != nil {
		log.Fatal(err)
	}
}

// List a directory of any size.
func ExampleClient_List() {
	ctx := context.Background()
	c, err := client.New("storage.example.com", client.WithToken("access-v1:..."))
	if err != nil {
		log.Fatal(err)
	}
	for a, err := range c.List(ctx, "/projects", client.ListOptions{}) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(a.Path, a.Size)
	}
}
