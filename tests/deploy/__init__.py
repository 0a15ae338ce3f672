"""The manifests: rendered, validated, and compared with the service they deploy; and the service under Ray."""
