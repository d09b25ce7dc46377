"""How much of Spark's functions we answer as Spark does.

    python tests/golden/report.py [mismatches.md]

Counts functions with golden answers, those that we have, and those of which every answer is Spark's; with a file name,
every answer that differs is written there.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.golden import cases, judging
from tests.golden.asking import Asker
from tidemill.plan.expressions import known_functions


def wrong_answers() -> dict[str, list[str]]:
    """The differences by subject, over all families."""
    found: dict[str, list[str]] = defaultdict(list)
    asker = Asker()
    for family, subject, group in judging.groups():
        for case in group:
            wanted = judging.answers(family)[judging.key(case.key())]
            if text := judging.difference(asker, case, wanted):
                found[subject].append(text)
    asker.close()
    return found


def main() -> None:
    every = [case for family in cases.families() for case in cases.load(family)]
    names = {name for case in every for name in judging.called(case.sql)} & judging.spark_functions()
    mapped = {name for name in names if name in known_functions()}
    wrong = wrong_answers()
    differing = sum(map(len, wrong.values()))
    asked = sum(len(group) for _, _, group in judging.groups())
    print(f"functions with golden answers  {len(names)}")
    print(f"of these mapped                {len(mapped)}")
    print(f"of these exact                 {len(mapped - set(wrong))}")
    print(f"answers asked, and differing   {asked}, {differing}")
    print(f"not mapped                     {' '.join(sorted(names - mapped))}")
    print(f"differing                      {' '.join(sorted(wrong))}")
    if len(sys.argv) > 1:
        lines = [f"## {subject}\n" + "\n".join(f"- {t}" for t in texts) for subject, texts in wrong.items()]
        Path(sys.argv[1]).write_text("\n\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
