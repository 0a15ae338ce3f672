"""One reading of a whole file's labels: the right one, a question, or a refusal that names the row."""

import pytest

from pgb_core.data.labels import LabelReading, read_labels
from pgb_core.data.rows import Flags, Named, TextRow
from pgb_core.errors import DataError

FIVE = ("1", "2", "3", "4", "5")
MOOD = ("negative", "positive")
MANY = "multi_label_classification"


def read(
    given: list[object], labels: tuple[str, ...], kind: str | None = None, wanted: str | None = None
) -> LabelReading:
    """Rows of a file f.csv with these labels, the first at line 2."""
    written = [tuple(label) if isinstance(label, list) else label for label in given]
    rows = [TextRow("a", None, label, f"f.csv:{n}") for n, label in enumerate(written, 2)]  # type: ignore[arg-type]
    return read_labels(rows, labels, kind, wanted, "f.csv")


@pytest.mark.parametrize(
    ("given", "labels", "kind", "targets"),
    [
        (["No", "yes", None], ("no", "yes"), "names", [0, 1, None]),
        (["1", "0", 1, 0.0, "1.0", " 1 ", "1e0"], ("no", "yes"), "ids", [1, 0, 1, 0, 1, 1, 1]),
        (["1", "5", "2"], FIVE, "names", [0, 4, 1]),
        (["0", "4", "2"], FIVE, "ids", [0, 4, 2]),
        ([1.0, 5.0], FIVE, "names", [0, 4]),
        ([True, False], MOOD, "ids", [1, 0]),
        (["true", "FALSE"], MOOD, "ids", [1, 0]),
        (["true", "False"], ("false", "true"), "names", [1, 0]),
        ([True, False], ("False", "True"), "names", [1, 0]),
        (["Us", "us"], ("us", "Us"), "names", [1, 0]),
        (["LABEL_1", "LABEL_0"], ("LABEL_0", "LABEL_1"), "names", [1, 0]),
        ([1, 0], ("LABEL_0", "LABEL_1"), "ids", [1, 0]),
        ([0, 1], ("0", "1"), "ids", [0, 1]),
        (["-1", "1", "0"], ("-1", "0", "1"), "names", [0, 2, 1]),
        ([-1, "-1"], MOOD, "none", [None, None]),
        ([["positive"], [], ["Negative"]], MOOD, "names", [1, None, 0]),
        ([[1], 0], MOOD, "ids", [1, 0]),
        ([Named("b", 0), Named("a", 1)], ("a", "b"), "names", [1, 0]),
        ([Named("neg", 0), Named("pos", 1)], ("LABEL_0", "LABEL_1"), "ids", [0, 1]),
    ],
)
def test_what_fits_one_reading_is_read_so(
    given: list[object], labels: tuple[str, ...], kind: str, targets: list[object]
) -> None:
    """Names or ids, decided over all rows."""
    found = read(given, labels)
    assert (found.kind, found.targets) == (kind, targets)


def test_a_number_may_stand_in_a_list_of_one() -> None:
    """As a name may."""
    assert read([[1.5], 2, []], ("score",), "regression").targets == [1.5, 2.0, None]


def test_accents_may_be_marks_of_their_own() -> None:
    """Which look the same; where the head has both, each is its own."""
    one, marked = "gr\u00f6\u00dfe", "gro\u0308\u00dfe"
    assert read([marked, "GR\u00d6SSE", "klein"], ("klein", one)).targets == [1, 1, 0]
    assert read([marked, one], (marked, one)).targets == [0, 1]


STARS = ("1 star", "2 stars", "3 stars", "4 stars", "5 stars")


def test_a_number_may_be_the_one_that_a_name_begins_with() -> None:
    """1 to 5 can be nothing else; without a 5 they may be ids too, which is asked. Other texts are not taken for it."""
    assert read([1, "5", 2.0], STARS).targets == [0, 4, 1]
    assert read([0, "4"], STARS).targets == [0, 4]
    with pytest.raises(DataError, match=r"as names 1 is label 0 \(1 star\); as ids 1 is label 1 \(2 stars\)"):
        read([1, 2, 3, 4], STARS)
    assert read([1, 2, 3, 4], STARS, wanted="names").targets == [0, 1, 2, 3]
    assert read([1, 2, 3, 4], STARS, wanted="ids").targets == [1, 2, 3, 4]
    with pytest.raises(DataError, match="is not one of the checkpoint's"):
        read(["5 moons"], STARS)
    assert read([0, 1], ("0: bad", "1: good")).targets == [0, 1]
    with pytest.raises(DataError, match=r"as names 1 is label 0 \(1st\); as ids 1 is label 1 \(2nd\)"):
        read([1, 2], ("1st", "2nd", "3rd"))
    with pytest.raises(DataError):
        read([3], ("3 a", "3 b"))


def test_a_number_may_have_any_number_of_digits() -> None:
    """As decimal numbers are written; what only begins as one is refused at once, however long it is."""
    assert read(["0." + 60 * "3", "1" + 30 * "0"], ("score",), "regression").targets == [pytest.approx(1 / 3), 1e30]
    with pytest.raises(DataError, match="is not a number"):
        read([1_000_000 * "1" + "x"], ("score",), "regression")


def test_labels_of_a_head_of_several_numbers_are_refused() -> None:
    """One number a row would train its first output alone."""
    with pytest.raises(DataError, match="the head gives 3 numbers, and labels for such a head are not supported"):
        read([1.0, 2.0], ("a", "b", "c"), "regression")
    assert read([None], ("a", "b", "c"), "regression").targets == [None]


NLI = ("entailment", "neutral", "contradiction")


@pytest.mark.parametrize(
    ("given", "mark", "shown"),
    [
        (["neutral"], "-", "'-'"),
        (["1"], " - ", "' - '"),
        ([1, "2"], -1, "-1"),
        (["0"], "-1", "'-1'"),
        ([1.0], -1.0, "-1"),
    ],
)
def test_a_few_marks_of_no_label_are_read_as_none(given: list[object], mark: object, shown: str) -> None:
    """As SNLI has them, in its own files and on the hub; where they are many the first is named as any wrong label."""
    found = read([*given, mark, *given * 19], NLI)
    assert [n for n, target in enumerate(found.targets) if target is None] == [len(given)]
    assert found.sentence.endswith(f"; 1 row has no label ({shown} stands for none)")
    with pytest.raises(DataError, match=rf"f\.csv:{2 + len(given)}: label {shown} "):
        read([*given, mark, mark, mark, *given * 19], NLI)


@pytest.mark.parametrize(
    ("given", "mark", "labels", "kind"),
    [
        ("good", "-1", MOOD, None),
        ("neutral", -1, NLI, None),
        ("a", "-", ("a", "b"), MANY),
        (0, -1, ("a", "b"), MANY),
        (1.5, "-", ("score",), "regression"),
    ],
)
def test_a_mark_of_no_label_is_one_where_it_can_be_nothing_else(
    given: object, mark: object, labels: tuple[str, ...], kind: str | None
) -> None:
    """Beside names -1 is a wrong label, and with several labels a row may have none of them."""
    with pytest.raises(DataError, match=r"f\.csv"):
        read([given] * 40 + [mark], labels, kind)


@pytest.mark.parametrize("declared", [None, "single_label_classification"])
def test_truth_values_are_probabilities(declared: str | None) -> None:
    """Of a head of one output that is no regression, as a reranker's; the reading is said."""
    found = read([True, "False", 0.5, None], ("LABEL_0",), declared)
    assert found.targets == [1.0, 0.0, 0.5, None]
    assert found.sentence == (
        "labels are numbers (written with true for 1, false for 0) from 0 to 1, mean 0.5; 1 row has no label"
    )


def test_a_label_that_is_named_as_a_mark_is_that_label() -> None:
    """And -1 is a number of a regression."""
    assert read(["+"] * 40 + ["-"], ("+", "-")).targets[-1] == 1
    assert read(["1"] * 40 + ["-1"], ("-1", "0", "1")).targets[-1] == 0
    assert read([1.5] * 40 + [-1], ("score",), "regression").targets[-1] == -1.0


def test_minus_one_alone_is_no_label_of_a_regression_either() -> None:
    """As in the test set of STS-B. Among other numbers it is a number."""
    assert read([-1.0, "-1.0"], ("score",), "regression").targets == [None, None]
    assert read([-1.0, 2.0], ("score",), "regression").targets == [-1.0, 2.0]
    assert read([-1.0], ("score",), "regression").targets == [-1.0]


@pytest.mark.parametrize(
    ("given", "labels", "kind", "said"),
    [
        (["1", "2"], FIVE, None, r"f\.csv: the labels can be read as names or as ids: as names '1' is label 0 \(1\)"),
        (
            ["1", "1"],
            ("1", "0"),
            None,
            r"as ids '1' is label 1 \(0\) \(f\.csv:2\)\. Say --labels",
        ),
        ([True], ("True", "False"), None, r"as names true is label 0 \(True\); as ids true is label 1 \(False\)"),
        (["0;1", "1;0"], ("a", "b"), MANY, r"as ids or as a vector: .*Say --labels ids or --labels vector"),
        ([[1, 0], [0, 1]], ("a", "b"), MANY, "as ids or as a vector"),
        (
            ["maybe"],
            ("no", "yes"),
            None,
            r"f\.csv:2: label 'maybe' is not one of the checkpoint's: no, yes; correct",
        ),
        (["No", "1"], ("no", "yes"), None, r"f\.csv:3: label '1' does not read as names, but that of f\.csv:2 does"),
        (["US"], ("us", "Us"), None, "label 'US' is not one of"),
        (["true"], ("a", "b", "c"), None, "label 'true' is not one of"),
        ([1, 1.0, True], ("a", "b", "c"), None, r"f\.csv:4: label true is not one of"),
        ([2], ("a", "b"), None, r"f\.csv:2: label 2 is not one of"),
        (
            [Named("c", 2)],
            ("LABEL_0", "LABEL_1"),
            None,
            r"label 'c' \(2\) is not one of the checkpoint's: LABEL_0, LABEL_1",
        ),
        (
            [Named(c, n) for n, c in enumerate("xyz")],
            ("a", "b"),
            None,
            r"the file has 3: 'x' \(0\), 'y' \(1\), 'z' \(2\)",
        ),
        ([Named("b", 0), Named("c", 1)], ("a", "b"), None, r"label 'c' \(1\) is not one of the checkpoint's: a, b"),
        (["1", "2", "3"], ("a", "b", "c"), None, "ids start at 0"),
        (["1", "9"], ("a", "b", "c"), None, "label '9' is not one of the checkpoint's: a, b, c; ids are 0 to 2$"),
        (list("abcde"), ("a", "b", "c"), None, r"the head has 3 labels, the file has 5: 'a', 'b'"),
        ([-1, 0], MOOD, None, "label -1 is not one of"),
        ([-1, -1], MOOD, MANY, "label -1 is not one of"),
        ([1.5], MOOD, None, "label 1.5 is not one of"),
        ([float("nan")], MOOD, None, "label NaN is not one of"),
        (["1" * 5000], MOOD, None, r"label '1+\.\.\.' is not one of"),
        ([10**400], MOOD, None, "a number of more than 15 digits"),
        ([["c"], ["a"]], ("a", "b"), None, "label 'c' is not one of the checkpoint's: a, b"),
        ([["a", "b"]], MOOD, None, "several labels, .* into its config.json; or else give one label a row"),
        ([Flags(("a", "b"), ("0", "1"))], MOOD, None, '"problem_type": "multi_label_classification"'),
        (["a", "c;x"], ("a", "b", "c"), MANY, r"f\.csv:3: label 'c;x' is not one of the checkpoint's: a, b, c; write"),
        (["0;1;0", "a"], ("a", "b", "c"), MANY, "write all labels in one way"),
        (["a,b"], ("a", "b", "c"), MANY, "with ; between them"),
        (
            ["x;a", "y", "z", "b"],
            ("a", "b"),
            MANY,
            "'x;a' is not one of the checkpoint's: a, b; write names or ids with",
        ),
        (["3,5"], ("score",), "regression", "'3,5' is not a number, .* write a decimal point, not a comma"),
        (["nan"], ("score",), "regression", "'nan' is not a number"),
        ([float("inf")], ("score",), "regression", "infinity is not a number"),
        (["1e400"], ("score",), None, "'1e400' is not a number"),
        ([10**400], ("score",), None, "is not a number"),
        ([True], ("score",), "regression", "true is not a number, and the model is a regression; write 1 for true and"),
        (["yes"], ("score",), None, "'yes' is not a number, and the head gives a probability; write a number from 0"),
        (["1_000"], ("score",), None, "is not a number"),
        (["4e38"], ("score",), None, "'4e38' is not a number"),
        ([[1, 2]], ("score",), None, "is not a number"),
    ],
)
def test_what_fits_two_readings_or_none_is_refused(
    given: list[object], labels: tuple[str, ...], kind: str | None, said: str
) -> None:
    """With both readings, or with the row and what the head has."""
    with pytest.raises(DataError, match=said):
        read(given, labels, kind)


@pytest.mark.parametrize(
    ("given", "labels", "targets"),
    [
        (["0;1;0", "1; 0; 0"], ("a", "b", "c"), [(0.0, 1.0, 0.0), (1.0, 0.0, 0.0)]),
        ([(0, 1, 0), (1.0, False, True)], ("a", "b", "c"), [(0.0, 1.0, 0.0), (1.0, 0.0, 1.0)]),
        ([("a", "c"), "b;A", "c", ()], ("a", "b", "c"), [(1, 0, 1), (1, 1, 0), (0, 0, 1), (0, 0, 0)]),
        (["0;2", 1, (2,)], ("a", "b", "c"), [(1, 0, 1), (0, 1, 0), (0, 0, 1)]),
        (["x;y", "z"], ("x;y", "z"), [(1, 0), (0, 1)]),
        (["0;0", "0;1"], ("a", "b"), [(0, 0), (0, 1)]),
        (["true;false"], ("a", "b"), [(1, 0)]),
    ],
)
def test_many_labels_are_names_ids_or_a_vector(
    given: list[object], labels: tuple[str, ...], targets: list[object]
) -> None:
    """The same from a text as from a list."""
    assert read(given, labels, MANY).targets == targets


def test_columns_of_zeros_and_ones_are_a_vector() -> None:
    """In the order of the head's names; in the order given where no column has such a name; else refused."""
    rows: list[object] = [Flags(("b", "A"), ("1", "0")), Flags(("b", "A"), (True, 1.0))]
    found = read(rows, ("a", "b"), MANY)
    assert found.targets == [(0.0, 1.0), (1.0, 1.0)]
    assert found.sentence == "labels are columns of 0 and 1: b is b, A is a; 0 is a (1), 1 is b (2)"
    assert read([Flags(("x", "y"), ("1", "0"))], ("a", "b"), MANY).targets == [(1.0, 0.0)]
    for columns, values, said in (
        (("a", "x"), ("1", "0"), "are not the head's 2 labels"),
        (("a", "A"), ("1", "0"), "are not the head's 2 labels"),
        (("a", "b"), ("1", "2"), r"f\.csv:2: column 'b' has '2'; a label column holds 0 or 1"),
        (("a", "b"), ("1", None), "column 'b' has null"),
        (("x", "y", "z"), ("1", "0", "0"), "name one column for each"),
    ):
        with pytest.raises(DataError, match=said):
            read([Flags(columns, values)], ("a", "b"), MANY)


def test_the_caller_may_take_the_numbers_of_a_dataset() -> None:
    """Though a name of its own has another number in the head."""
    assert read([Named("b", 0), Named("c", 1)], ("a", "b"), None, "ids").targets == [0, 1]


def test_the_caller_settles_it() -> None:
    """And a row that does not fit is still refused."""
    assert read(["1", "2"], FIVE, wanted="names").targets == [0, 1]
    assert read(["1", "2"], FIVE, wanted="ids").targets == [1, 2]
    assert read(["0;1"], ("a", "b"), MANY, "vector").targets == [(0.0, 1.0)]
    assert read(["0;1"], ("a", "b"), MANY, "ids").targets == [(1.0, 1.0)]
    for given, labels, kind, wanted, said in (
        (["1", "5"], FIVE, None, "ids", r"f\.csv:3: label '5' is not one of .* ids are 0 to 4"),
        (["1"], FIVE, None, "vector", "the head picks one label"),
        (["1"], ("x",), None, "ids", "the head gives a number"),
    ):
        with pytest.raises(DataError, match=said):
            read(given, labels, kind, wanted)  # type: ignore[arg-type]


def test_the_reading_is_said() -> None:
    """With how often each label occurs."""
    assert read(["positive", "Negative", "positive", None], MOOD).sentence == (
        "labels are names: negative (1), positive (2); 1 row has no label"
    )
    assert read([0, 1, 1], MOOD).sentence == "labels are ids 0..1: 0 is negative (1), 1 is positive (2)"
    assert read([1, 2.5], ("score",)).sentence == "labels are numbers from 1 to 2.5, mean 1.75"
    assert read([True, False], ("False", "True")).sentence == "labels are names: False (1), True (1)"
    assert read([None], MOOD).sentence == "no row has a label"
    assert read(["0;1", "0;0"], ("a", "b"), MANY).sentence == "labels are vectors of 0 and 1: 0 is a (0), 1 is b (1)"


def test_a_column_of_one_label_of_several_is_not_read_as_ids() -> None:
    """Its name says what 0 and 1 are of; under another name, and with other values, labels are read as ever."""
    rows = [TextRow("a", None, value, "f.csv:2") for value in ("0", "1")]
    with pytest.raises(
        DataError, match="the column 'toxic' has 0 and 1 for one of the head's labels, toxic, rude; name"
    ):
        read_labels(rows, ("toxic", "rude"), MANY, columns=("toxic",))
    for column, kind in (("rude", None), ("label", None), ("label", MANY)):
        assert read_labels(rows, ("toxic", "rude"), kind, columns=(column,)).kind == "ids"
    for labels in (("toxic", "rude"), ("fine", "toxic", "rude")):  # 1 would be another label than its column says
        with pytest.raises(DataError, match=r"for one of the head's labels, .*; name a column that holds the label of"):
            read_labels(rows, labels, None, columns=("toxic",))
    assert read_labels(rows, ("toxic", "rude"), None, "ids", columns=("toxic",)).targets == [0, 1]
    flags = [TextRow("a", None, Flags(("toxic", "rude"), (1, 0)), "f.csv:2")]
    with pytest.raises(DataError, match=r"the checkpoint picks one label; .*; or else write the label into one column"):
        read_labels(flags, ("toxic", "rude"), None, columns=("toxic", "rude"))
    named = [TextRow("a", None, "rude", "f.csv:2")]
    assert read_labels(named, ("toxic", "rude"), MANY, columns=("toxic",)).kind == "names"
