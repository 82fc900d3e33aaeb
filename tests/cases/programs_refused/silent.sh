#!/bin/sh
echo "cannot find the library" >&2
exit 3
