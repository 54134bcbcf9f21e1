from retrieval.keywords import telling_words


def test_words_tell_a_group_from_the_others() -> None:
    gardens = ["Plant the tomatoes in May.", "The tomato likes sun.", "Water the tomatoes in the sun."]
    snow = ["Clear the snow in winter.", "The snow is cold in winter.", "Winter brings the snow."]
    first, second = telling_words([gardens, snow], most=2)
    assert first == ["tomatoes", "sun"]
    assert set(second) == {"snow", "winter"}


def test_words_of_every_group_tell_nothing() -> None:
    groups = [["the red house"] * 3, ["the blue house"] * 3]
    assert telling_words(groups) == [["red"], ["blue"]]


def test_chinese_words_are_pairs_of_characters() -> None:
    (first, second) = telling_words([["番茄喜欢阳光"] * 3, ["冬天下雪很冷"] * 3], most=3)
    assert "番茄" in first
    assert not set(first) & set(second)


def test_a_group_without_words_has_none() -> None:
    assert telling_words([["12 34"], ["a tomato"]]) == [[], ["tomato"]]
