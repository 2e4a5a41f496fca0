#!/bin/sh
# The first system's name for `watchbill start`.
PATH="$("$(dirname "$0")/environment" user)/bin:$PATH" exec watchbill start "$@"
