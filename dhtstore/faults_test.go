package dhtstore

func runBareLibrary() {}
