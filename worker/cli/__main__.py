"""`python -m worker.cli` is `nightdesk`: child processes are started this way, whatever the PATH."""

from worker.cli import main

main()
