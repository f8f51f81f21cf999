"""Print "PASSED FAILED" of a meson JUnit file; skipped tests count as neither.

Exit status 1 when the file is missing, unreadable, or has no test case.
"""
import sys
import xml.etree.ElementTree as ElementTree


def main(path):
    passed = failed = 0
    try:
        cases = list(ElementTree.parse(path).iter("testcase"))
    except (OSError, ElementTree.ParseError):
        return 1
    for case in cases:
        kinds = {child.tag for child in case}
        if kinds & {"failure", "error"}:
            failed += 1
        elif "skipped" not in kinds:
            passed += 1
    if passed + failed == 0:
        return 1
    print(passed, failed)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
