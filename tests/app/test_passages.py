from app.services.passages import passage_text


def test_title_and_headings_stand_above_the_text() -> None:
    text = passage_text("Coast", ("Lights", "Towers"), "It was built in 1870.")
    assert text == "Coast / Lights / Towers\nIt was built in 1870."


def test_heading_that_the_chunk_holds_is_not_said_twice() -> None:
    assert (
        passage_text("Coast", ("Coast", "Lights"), "## Lights\nBuilt in 1870.")
        == "Coast\n## Lights\nBuilt in 1870."
    )


def test_chunk_without_title_and_headings_is_its_text() -> None:
    assert passage_text(None, (), "Built in 1870.") == "Built in 1870."
    assert passage_text(None, ("Lights",), "Lights: built in 1870.") == "Lights: built in 1870."


def test_long_context_leaves_room_for_the_text() -> None:
    assert passage_text("t" * 900, (), "text") == "t" * 200 + "\ntext"
