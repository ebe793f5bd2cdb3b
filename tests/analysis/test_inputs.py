"""Reading columns of a CSV file: exact numbers, and one sentence for whatever is wrong."""

import gzip
import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from analysis import inputs
from analysis.inputs import ANY, EPSILON, NON_NEGATIVE, POSITIVE, check_versions, parse_epsilons, read_columns
from scenarios.errors import InputError

PROPERTY = settings(
    derandomize=True,
    deadline=None,
    database=None,
    max_examples=50,
    suppress_health_check=[HealthCheck.function_scoped_fixture],  # the file is written anew each time
)


@pytest.fixture
def file(tmp_path):
    """Write text or bytes into a file and return its path."""

    def write(content):
        path = tmp_path / "answers.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def read(path, optional=None):
    return read_columns(path, {"epsilon": EPSILON, "value": POSITIVE}, optional)


def read_named(path):
    return read_columns(path, {"value": ANY}, names="owner")


def test_rows_may_be_named_and_numbers_negative(file):
    table = read_named(file('value,owner\n-1.5, A\n0,"B,C"\n-1e-20,007\n'))
    assert table.to_dict("list") == {"owner": ["A", "B,C", "007"], "value": [-1.5, 0.0, -1e-20]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("value\n1\n", "owner: the header of"),
        ("owner,value\nA,1\n ,2\n", "owner: found nothing in row 3; every cell must be filled"),
        ("owner,value\nA,1\nB,1\n\nB ,1\nA,1\n", "owner: found 'B' in rows 3 and 5; allowed is one row for each name"),
        ("owner,value\nA,nan\n", "value: found 'nan' in row 2; allowed are numbers from -1e+15 to 1e+15"),
        ("owner,value\nA,-inf\n", "value: found -inf in row 2; allowed are numbers from -1e+15 to 1e+15"),
    ],
)
def test_names_are_checked(file, content, message):
    with pytest.raises(InputError, match=f"^{re.escape(message)}"):
        read_named(file(content))


@PROPERTY
@given(numbers=st.lists(st.floats(1e-15, 1e15), min_size=1, max_size=20))
def test_numbers_are_read_to_the_last_bit(file, numbers):
    path = file("epsilon,value\n" + "".join(f"1,{number!r}\n" for number in numbers))
    assert read(path)["value"].tolist() == numbers


def test_other_columns_blank_rows_blanks_and_a_byte_order_mark_do_no_harm(file):
    path = file(b'\xef\xbb\xbfname, value ,"epsilon"\r\nA, 5,1\r\n\r\n"B\nC",1e2 ,0.5\r\n,,\r\n')
    table = read(path, {"weight": POSITIVE})
    assert list(table) == ["epsilon", "value"]
    assert table.to_numpy().tolist() == [[1.0, 5.0], [0.5, 100.0]]
    assert table.index.tolist() == [2, 4]  # rows as a spreadsheet counts them


def test_optional_columns_are_read_where_they_are_and_checked(file):
    assert read(file("weight,epsilon,value\n3,1,2\n"), {"weight": POSITIVE})["weight"].tolist() == [3.0]
    with pytest.raises(InputError, match=r"^weight: found -3 in row 2; allowed are numbers > 0$"):
        read(file("weight,epsilon,value\n-3,1,2\n"), {"weight": POSITIVE})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "has no header"),
        ("epsilon,value\n", "has no rows below its header"),
        ("epsilon,value\n\n,\n", "has no rows below its header"),
        ("epsilon,price\n1,2\n", "value: the header .* must name this column once.*found 'epsilon', 'price'$"),
        ("epsilon;value\n1;2\n", "epsilon: the header .*separated by commas; found 'epsilon;value'$"),
        ("epsilon,value,value\n1,2,3\n", "value: the header .* must name this column once"),
        ("1,2\n1,2\n", "epsilon: the header .* found '1', '2'$"),
        ("epsilon,value\n1,5\n2,0\n", "^value: found 0 in row 3; allowed are numbers > 0$"),
        ("epsilon,value\n1,5\n-2,1\n", "^epsilon: found -2 in row 3; allowed are numbers > 0$"),
        ("epsilon,value\n1,5\n\n2,\n", "^value: found nothing in row 4; allowed are numbers > 0$"),
        ("epsilon,value\n1,5\n2\n", "^value: found nothing in row 3"),
        ("epsilon,value\n1,NaN\n", "^value: found 'NaN' in row 2"),
        ("epsilon,value\n1,many\n", "^value: found 'many' in row 2"),
        ("epsilon,value\n1,true\n", "^value: found 'true' in row 2"),
        ('epsilon,value\n1,"1,5"\n', "^value: found '1,5' in row 2"),
        ("epsilon,value\n1,inf\n", r"^value: found inf in row 2; allowed are numbers > 0 of size 1e-15 to 1e\+15$"),
        ("epsilon,value\n1,-inf\n", "^value: found -inf in row 2; allowed are numbers > 0$"),
        ("epsilon,value\n1e-9,1\n", "^epsilon: found 1e-9 in row 2; allowed are numbers > 0 of size 0.0001 to 10000$"),
        ("epsilon,value\n1," + "x" * 5000 + "\n", "^value: found 'x{40}' in row 2"),
        ("epsilon,value\n1,2\n1,2,3\n", "is not a CSV file: Expected 2 fields in line 3, saw 3"),
        ('epsilon,value\n1,"2\n', "is not a CSV file: EOF inside string"),
        (b"epsilon,value\n1,\xff\n", "is not text in UTF-8"),
        (gzip.compress(b"epsilon,value\n1,2\n", mtime=0), "is not text in UTF-8"),
        ("epsilon,value\n1,2\n".encode("utf-16"), "is not text in UTF-8"),
    ],
)
def test_whatever_is_wrong_is_told_in_one_sentence(file, content, message):
    with pytest.raises(InputError, match=message) as refused:
        read(file(content))
    assert "\n" not in str(refused.value)


def test_zero_is_allowed_where_it_is(file):
    assert read_columns(file("price\n0\n"), {"price": NON_NEGATIVE})["price"].tolist() == [0.0]
    with pytest.raises(InputError, match=r"^price: found -1 in row 2; allowed are numbers >= 0$"):
        read_columns(file("price\n-1\n"), {"price": NON_NEGATIVE})


def test_files_that_are_none_or_too_large_are_refused(file, tmp_path, monkeypatch):
    with pytest.raises(InputError, match=r"'.*nowhere.csv' cannot be read: No such file"):
        read(tmp_path / "nowhere.csv")
    with pytest.raises(InputError, match="cannot be read: Is a directory"):
        read(tmp_path)
    monkeypatch.setattr(inputs, "MAX_BYTES", 20)
    with pytest.raises(InputError, match=r"answers.csv' holds 0 MB; allowed are 0 MB"):
        read(file("epsilon,value\n1,22222222222\n"))


def test_epsilons_are_rising_numbers():
    assert parse_epsilons("0.5,1, 2").tolist() == [0.5, 1.0, 2.0]
    for text in ("", "a", "1,,2", "2,1", "1,1", "0,1", "-1", "nan", "1,inf", "1e9"):
        with pytest.raises(InputError, match=r"^--epsilons: found .*; allowed are rising numbers from 0.0001 to 10000"):
            parse_epsilons(text)
    assert len(check_versions(parse_epsilons(",".join(map(str, range(1, 101)))))) == 100
    with pytest.raises(InputError, match=r"^epsilon: found 101 versions"):
        check_versions(parse_epsilons(",".join(map(str, range(1, 102)))))
