"""The figures of the README: `make bench` measures all of them, `make bench ARGS=submit` one."""
