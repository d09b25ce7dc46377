"""Starts lives of the program quickly: imports everything once, then forks for each line of standard input.

A line is the program's configuration as JSON; the answer is the life's exit code. The zygote itself runs nothing, so it
has no threads or connections that a fork would break.
"""

from __future__ import annotations

import json
import os
import sys
import traceback

from tests.crash import program


def life(config: dict[str, object]) -> int:
    child = os.fork()
    if child == 0:
        code = 1
        try:
            program.run(config)
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


if __name__ == "__main__":
    for line in sys.stdin:
        print(life(json.loads(line)), flush=True)
