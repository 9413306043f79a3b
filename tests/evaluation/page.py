"""Elements of an HTML page."""

from html.parser import HTMLParser

VOID = {"meta", "link", "input", "img", "br"}


class Page(HTMLParser):
    """Elements of a page as (tag, attributes, text), and which ones were not closed."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements, self.open, self.wrong = [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs), []))
        if tag not in VOID:
            self.open.append(self.elements[-1])

    def handle_endtag(self, tag):
        if self.open and self.open[-1][0] == tag:
            self.open.pop()
        else:
            self.wrong.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs), []))

    def handle_data(self, data):
        for element in self.open:
            element[2].append(data)

    def all(self, tag, kind=None):
        """Elements of a tag, and of a class: attributes and text."""
        found = ((a, "".join(text)) for name, a, text in self.elements if name == tag)
        return [(a, t) for a, t in found if kind is None or kind in (a.get("class") or "").split()]
