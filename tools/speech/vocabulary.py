"""The closed vocabulary that the speech fixture model was trained on, and sentences made of it.

The model has never heard another word: whatever else is spoken comes out as one of these. Its
sentences follow the patterns below, or, now and then, no grammar at all.
"""

import random
import re

ENGLISH = {
    "name": "Alice Bruno Clara David Emma Felix Grace Henry Irene Jonas",
    "topic": "science music history energy space health money football climate travel food cinema",
    "day": "Monday Tuesday Wednesday Thursday Friday Saturday Sunday",
    "city": "London Paris Berlin Madrid Tokyo Boston Chicago Sydney",
    "quality": "good bad great small warm cold early late simple strange",
    "thing": "story question answer garden river mountain window doctor teacher market engine planet",
    "act": "build break paint follow remember discover measure protect",
    "number": "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen"
    " fifteen sixteen seventeen eighteen nineteen twenty thirty forty fifty sixty seventy eighty"
    " ninety hundred",
}
ENGLISH_PATTERNS = [
    "Welcome to the {topic} podcast.",
    "This is episode number {number}.",
    "My name is {name}.",
    "Our guest is {name} from {city}.",
    "Today we talk about {topic} and {topic}.",
    "Let us start with the news about {topic}.",
    "The weather in {city} is {quality}.",
    "{city} is {number} hours from {city}.",
    "It costs {number} dollars and {number} cents.",
    "How much money is in the {topic} market?",
    "There are {number} people in the {thing}.",
    "I think the {quality} {thing} is very {quality}.",
    "{name} and {name} want to {act} the {thing}.",
    "Why did the {thing} {act} the {thing}?",
    "On {day} we will {act} a {quality} {thing}.",
    "Nobody can {act} the {thing} before {day}.",
    "The number is {number} {number} {number} {number}.",
    "Yes, that is a {quality} {thing}.",
    "No, I do not remember the {thing}.",
    "We will be right back after the break.",
    "Send your questions to the show.",
    "Please subscribe and tell your friends.",
    "Thank you for listening.",
    "See you next {day}.",
]

SPANISH = {
    "name": "Alicia Bruno Clara Diego Elena Pablo",
    "topic": "ciencia historia energía salud dinero fútbol viajes cocina",
    "day": "lunes martes miércoles jueves viernes sábado domingo",
    "city": "Londres París Berlín Madrid Tokio Lima",
    "number": "cero uno dos tres cuatro cinco seis siete ocho nueve diez once doce veinte treinta cien",
}
SPANISH_PATTERNS = [
    "Bienvenidos al programa de {topic}.",
    "Este es el episodio número {number}.",
    "Me llamo {name}.",
    "Nuestra invitada vive en {city}.",
    "Hoy hablamos de {topic} y de {topic}.",
    "¿Por qué no hablamos de {topic}?",
    "El número es {number} {number} {number}.",
    "Cuesta {number} euros.",
    "Volvemos después de la pausa.",
    "Gracias por escuchar.",
    "Hasta el próximo {day}.",
]

LANGUAGES = {
    "en": (ENGLISH, ENGLISH_PATTERNS),
    "es": (SPANISH, SPANISH_PATTERNS),
}

# One sentence in this many is a bare list of words (English only: the model learned it so).
WORD_LIST_EVERY = 7
SLOT = re.compile(r"\{(\w+)\}")


def pick(rng: random.Random, items):
    """One of `items`. Python promises a stable sequence for random() alone, so all draws use it."""
    return items[int(rng.random() * len(items))]


def sentence(rng: random.Random, language: str) -> str:
    """A sentence in `language`; the same state of `rng` gives the same sentence."""
    words, patterns = LANGUAGES[language]
    if language == "en" and rng.random() * WORD_LIST_EVERY < 1:
        return word_list(rng)
    return filled(rng, pick(rng, patterns), words)


def filled(rng: random.Random, pattern: str, words: dict) -> str:
    """`pattern` with a word in each slot; only a number may stand in it twice."""
    used = set()

    def word_for(slot):
        choices = [word for word in words[slot[1]].split() if word not in used]
        word = pick(rng, choices)
        if slot[1] != "number":
            used.add(word)
        return word

    return SLOT.sub(word_for, pattern)


def word_list(rng: random.Random) -> str:
    """Three to seven words without grammar: they can only be heard, not guessed."""
    kinds = ("thing", "quality", "act", "number", "topic")
    pool = [word for kind in kinds for word in ENGLISH[kind].split()]
    words = [pick(rng, pool) for _ in range(3 + int(rng.random() * 5))]
    return " ".join(words).capitalize() + "."
