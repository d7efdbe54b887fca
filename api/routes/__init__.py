"""The HTTP calls, one file for each resource. A handler reads the request, calls one thing and renders its answer."""
