module tandem/local-node/pause

go 1.25.0
