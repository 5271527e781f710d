"""Adapters: pruners of other libraries, and of other people's forms, as pruners of ours."""
