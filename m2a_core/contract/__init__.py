"""What the exported graph, the runtimes and the plugin agree on: names, shapes, types. Imports no other room."""
