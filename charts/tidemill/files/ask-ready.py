"""Asks the operator whether it works, for a minute: an installation may still be starting it."""

import sys
import time
import urllib.error
import urllib.request

deadline = time.monotonic() + 60
while True:
    try:
        print(urllib.request.urlopen(sys.argv[1], timeout=5).read().decode())
        sys.exit(0)
    except urllib.error.HTTPError as error:
        said = f"{error.code}: {error.read().decode()}"
    except OSError as error:
        said = str(error)
    if time.monotonic() > deadline:
        sys.exit(f"{sys.argv[1]} does not say that the operator is ready: {said}")
    time.sleep(1)
