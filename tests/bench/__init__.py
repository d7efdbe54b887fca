"""The figures of the README: `make bench` measures all of them, `make bench ARGS=submit` one, `ARGS=--quick` in small.

`ground` is where a benchmark takes place, `table` how its figures are printed; `race`, `entrants` and `peers/` hold
Nightdesk and the plain programs beside it; every other module is one benchmark or a tool of several.
"""
