"""ferrocnn beside other frameworks, in one run on one machine: `make bench`."""
