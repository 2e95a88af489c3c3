import agent.actions
from agent.action import discover
from dashboard.i18n import agent_words
from dashboard.i18n.language import speaking
from schemas.contract.action_schema import read_fields


def test_titles_and_arguments_of_our_own_actions_are_known() -> None:
    said = []
    for action in discover(agent.actions).values():
        said.append(action.title)
        for field in read_fields(action.arguments.model_json_schema()):
            said += [field.title, field.description, *map(str, field.choices)]
    assert {word for word in said if word} <= agent_words.WORDS


def test_what_others_say_stays_as_they_say_it() -> None:
    with speaking("ru"):
        assert agent_words.translated("Fleet") == "Fleet"
