"""JUnit: what came of tests, in the XML that build servers read: one suite for each file. Pure."""

from collections.abc import Sequence
from xml.etree.ElementTree import Element, SubElement, tostring

from stopgap.suite import words
from stopgap.suite.running import Result


def junit(results: Sequence[Result]) -> bytes:
    """Return the whole document."""
    root = Element("testsuites", _sums(results))
    for path in dict.fromkeys(result.path for result in results):
        ours = [result for result in results if result.path == path]
        suite = SubElement(root, "testsuite", {"name": _xml(str(path)), **_sums(ours)})
        for result in ours:
            _case(suite, result)
    written: bytes = tostring(root, encoding="utf-8", xml_declaration=True)
    return written


def _sums(results: Sequence[Result]) -> dict[str, str]:
    bad = sum(not result.passed for result in results)
    seconds = sum(result.seconds for result in results)
    return {"tests": str(len(results)), "failures": str(bad), "errors": "0", "time": f"{seconds:.3f}"}


def _case(suite: Element, result: Result) -> None:
    case = SubElement(
        suite,
        "testcase",
        {
            "name": _xml(result.name),
            "classname": _xml(result.path.parent.name),
            "file": _xml(str(result.path)),
            "line": str(result.line),
            "time": f"{result.seconds:.3f}",
        },
    )
    if not result.passed:
        first = result.failures[0].miss
        said = f"{first.key}: expected {first.expected}, got {first.got}" if first.expected else first.got
        SubElement(case, "failure", {"message": _xml(said)}).text = _xml("\n".join(words.failed(result)))


def _xml(text: str) -> str:
    """Leave out what XML cannot hold."""
    return "".join(char for char in text if char.isprintable() or char in "\n\t")
