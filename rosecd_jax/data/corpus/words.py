"""Random English sentences, composed of word lists."""

import numpy as np

__all__ = ["sentence"]

TEMPLATES = (
    "{name} {verb} the {adjective} {thing} {place} {time}.",
    "{name} and {name} {verb} {number} {things} {place}.",
    "The {person} {verb} {number} {adjective} {things} {time}.",
    "Did the {person} {adverb} leave the {thing} {place}?",
    "Please bring the {adjective} {thing} and {number} {things} {place}.",
    "{time}, the {adjective} {person} {verb} a lot of {things}.",
    "There were {number} {things} and one {adjective} {thing} {place}.",
    "Why has {name} {adverb} hidden the {thing} {place}?",
    "{name} said that the {thing} {place} was too {adjective}.",
    "If the {person} calls {time}, show him the {adjective} {thing}.",
    "Nobody knew how the {person} {verb} the {things} so {adverb}.",
    "We {adverb} {verb} the {thing} that {name} had left {place}.",
)

WORDS = {
    "name": (
        "Agnes", "Barbara", "Charles", "Daisy", "Edgar", "Fiona", "George", "Hannah", "Isaac", "Joyce",
        "Keith", "Laura", "Matthew", "Nora", "Oliver", "Philippa", "Quentin", "Rachel", "Stephen", "Theo",
        "Ursula", "Victor", "Winifred", "Yusuf", "Zoe",
    ),
    "person": (
        "baker", "carpenter", "doctor", "engineer", "farmer", "gardener", "judge", "lawyer", "musician",
        "neighbour", "officer", "painter", "physicist", "reporter", "sailor", "shopkeeper", "student",
        "teacher", "visitor", "waiter", "witness", "young cousin", "old uncle", "choir master",
    ),
    "verb": (
        "bought", "borrowed", "carried", "chose", "cleaned", "described", "examined", "fetched", "found",
        "gathered", "invented", "joined", "lost", "measured", "noticed", "ordered", "painted", "pushed",
        "recognised", "repaired", "sold", "studied", "threw", "unpacked", "watched", "weighed",
    ),
    "adjective": (
        "ancient", "blue", "broken", "cheap", "curious", "damp", "enormous", "fragile", "golden", "heavy",
        "hollow", "icy", "jolly", "large", "modern", "narrow", "orange", "patient", "quiet", "rusty", "sharp",
        "smooth", "tiny", "unusual", "velvet", "wooden", "yellow",
    ),
    "thing": (
        "anchor", "basket", "bicycle", "bridge", "candle", "chair", "clock", "drum", "engine", "feather",
        "garden gate", "hammer", "island map", "jacket", "kettle", "ladder", "machine", "notebook", "oven",
        "piano", "quilt", "radio", "shovel", "telephone", "umbrella", "violin", "whistle", "yacht",
    ),
    "things": (
        "apples", "boxes", "brushes", "cages", "cherries", "coins", "dishes", "envelopes", "fish", "gloves",
        "horses", "keys", "leaves", "mirrors", "needles", "oysters", "photographs", "questions", "ropes",
        "sheep", "stamps", "tickets", "thimbles", "vegetables", "watches", "wires",
    ),
    "number": (
        "two", "three", "four", "five", "six", "seven", "eight", "nine", "eleven", "twelve", "thirteen",
        "fifteen", "twenty", "thirty six", "forty one", "fifty", "ninety", "a hundred",
    ),
    "place": (
        "above the shop", "across the river", "at the airport", "behind the theatre", "below the stairs",
        "beside the fire", "by the window", "from the cellar", "in the hallway", "in the orchard",
        "near the church", "next to the bath", "off the coast", "on the hill", "on the top shelf",
        "outside the village", "over the bridge", "through the tunnel", "under the table", "with the luggage",
    ),
    "time": (
        "after breakfast", "all afternoon", "at half past eight", "at midnight", "before dawn",
        "before the storm", "during the meeting", "every other week", "in early spring", "in July",
        "last Thursday", "on Wednesday", "on the first of March", "once again", "this evening", "tomorrow",
        "two years ago", "without a word", "yesterday morning",
    ),
    "adverb": (
        "always", "badly", "calmly", "carelessly", "finally", "gently", "happily", "loudly", "often",
        "politely", "quickly", "rarely", "secretly", "slowly", "suddenly", "usually",
    ),
}  # fmt: skip


def sentence(generator: np.random.Generator) -> str:
    """Compose a random sentence of about 7 to 14 words, with capital and punctuation."""
    text = str(generator.choice(TEMPLATES))
    while "{" in text:  # one placeholder at a time, so that two names in a template are drawn separately
        kind = text[text.index("{") + 1 : text.index("}")]
        text = text.replace(f"{{{kind}}}", str(generator.choice(WORDS[kind])), 1)
    return text[0].upper() + text[1:]
