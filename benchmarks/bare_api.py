"""The least that FastAPI can do for a request: what `benchmarks.service` compares the service's answers with."""

from fastapi import FastAPI
from pydantic import BaseModel

app = FastAPI()


class Thing(BaseModel):
    """A body with a few fields."""

    name: str
    r: int
    k: int


@app.get("/things/{number}")
async def read_thing(number: int) -> dict[str, int]:
    """A small answer."""
    return {"number": number}


@app.post("/things", status_code=201)
async def create_thing(thing: Thing) -> Thing:
    """A small body, checked and sent back."""
    return thing
