"""Reads XML files of other people: elements, attributes and text, and nothing that a document type could declare.

A document type (``<!DOCTYPE …>``) can declare entities. They can unfold to gigabytes ("billion laughs") or name files of this
machine, whose content would then be part of the document. No annotation tool writes one, so a file with one is refused
before anything in it is used.
"""

from __future__ import annotations

from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

__all__ = ["PlainXmlError", "parse_xml"]

MAX_DEPTH = 50


class PlainXmlError(ValueError):
    """The content is not XML, or holds what is not read. The message is a clause such as "line 3: mismatched tag"."""


def parse_xml(content: bytes) -> Element:
    """The root element of an XML file. Raises `PlainXmlError`."""
    builder = TreeBuilder()
    parser = expat.ParserCreate()
    parser.buffer_text = True
    depth = 0

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > MAX_DEPTH:
            raise PlainXmlError(f"line {parser.CurrentLineNumber}: nested deeper than {MAX_DEPTH} levels")
        builder.start(tag, attributes)

    def end(tag: str) -> None:
        nonlocal depth
        depth -= 1
        builder.end(tag)

    def refuse(*_: object) -> None:
        raise PlainXmlError("it declares a document type (<!DOCTYPE …>), which could unfold or read other files")

    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = builder.data
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(content, True)
    except expat.ExpatError as error:
        raise PlainXmlError(f"line {error.lineno}: {expat.ErrorString(error.code)}") from error
    except PlainXmlError:
        raise
    except (ValueError, LookupError) as error:  # an encoding that expat does not know
        raise PlainXmlError(str(error)) from error
    return builder.close()
