"""The rows over which golden answers are taken: small, typed, with NULLs, signs, edges and Unicode.

Each column is a list of SQL literals as Spark reads them, so that real Spark and Tidemill start from one text.
"""

from __future__ import annotations

ROWS = 12

COLUMNS: dict[str, tuple[str, list[str]]] = {
    "g": ("STRING", ["'a'", "'a'", "'a'", "'a'", "'b'", "'b'", "'b'", "'c'", "'c'", "'d'", "NULL", "NULL"]),
    "i": ("INT", ["1", "2", "-3", "NULL", "0", "7", "7", "100", "-1", "NULL", "5", "12"]),
    "j": ("INT", ["2", "-1", "3", "4", "NULL", "1", "2", "-7", "5", "6", "3", "1"]),
    "l": ("BIGINT", ["1", "-2", "3000000000", "NULL", "0", "42", "-3000000000", "7", "8", "9", "10", "11"]),
    "sm": ("SMALLINT", ["1", "-2", "300", "NULL", "0", "42", "-300", "7", "8", "9", "10", "11"]),
    "by": ("TINYINT", ["1", "-2", "30", "NULL", "0", "42", "-30", "7", "8", "9", "10", "11"]),
    "d": ("DOUBLE", ["1.5D", "-2.5D", "0.0D", "NULL", "2.675D", "1e10D", "-1e-7D", "0.1D", "123.456D", "0.5D", "-0.5D", "3.0D"]),
    "x": ("DOUBLE", ["double('NaN')", "double('Infinity')", "-double('Infinity')", "-0.0D", "0.0D", "1e300D", "NULL", "5e-324D", "1.0D", "1e7D", "9999999.0D", "0.001D"]),
    "f": ("FLOAT", ["1.5F", "-2.5F", "0.1F", "NULL", "3.0F", "1e10F", "1e-5F", "0.0F", "16777216F", "2.5F", "-0.5F", "7F"]),
    "dec": ("DECIMAL(10,2)", ["1.50BD", "-2.25BD", "0.00BD", "NULL", "99999999.99BD", "0.01BD", "-0.05BD", "2.50BD", "3.00BD", "10.10BD", "7.77BD", "-8.00BD"]),
    "e": ("DECIMAL(5,3)", ["1.500BD", "2.250BD", "0.001BD", "3.000BD", "NULL", "-0.010BD", "12.345BD", "99.999BD", "-99.999BD", "10.100BD", "7.770BD", "1.000BD"]),
    "s": ("STRING", ["'hello'", "''", "NULL", "'Straße ÅÉ'", "'  pad  '", "'a,b,,c'", "'日本語テキスト'", "'UPPER lower'", "'x'", "'tab\\tnew\\nline'", "'😀 emoji'", "'100%_done'"]),
    "t": ("STRING", ["'l'", "'x'", "'a'", "'Å'", "' '", "','", "'本'", "'lower'", "NULL", "''", "'e'", "'%'"]),
    "num": ("STRING", ["'1'", "'-2'", "' 3 '", "NULL", "'0'", "'42'", "'+7'", "'100'", "'8'", "'9'", "'10'", "'11'"]),
    "b": ("BOOLEAN", ["true", "false", "NULL", "true", "true", "false", "false", "true", "NULL", "true", "false", "true"]),
    "dt": ("DATE", ["DATE'2024-01-31'", "DATE'2024-02-29'", "DATE'1970-01-01'", "NULL", "DATE'1969-12-31'", "DATE'2023-12-31'", "DATE'2000-06-15'", "DATE'1900-03-01'", "DATE'2024-12-30'", "DATE'2021-01-03'", "DATE'2024-03-10'", "DATE'9999-12-31'"]),
    "dt2": ("DATE", ["DATE'2024-02-29'", "DATE'2023-02-28'", "DATE'1970-01-02'", "DATE'2020-01-01'", "DATE'1970-12-31'", "DATE'2024-01-01'", "NULL", "DATE'1901-03-01'", "DATE'2025-01-06'", "DATE'2021-01-04'", "DATE'2024-11-03'", "DATE'2000-01-01'"]),
    "ts": ("TIMESTAMP", ["TIMESTAMP'2024-01-31 12:34:56.123456Z'", "TIMESTAMP'2024-02-29 23:59:59.999999Z'", "TIMESTAMP'1970-01-01 00:00:00Z'", "NULL", "TIMESTAMP'1969-12-31 23:59:59.5Z'", "TIMESTAMP'2023-12-31 00:30:00Z'", "TIMESTAMP'2000-06-15 08:00:00.1Z'", "TIMESTAMP'1999-12-31 15:45:10Z'", "TIMESTAMP'2024-03-10 06:59:59Z'", "TIMESTAMP'2024-03-10 07:30:00Z'", "TIMESTAMP'2024-11-03 05:30:00Z'", "TIMESTAMP'2024-11-03 06:30:00Z'"]),
    "ts2": ("TIMESTAMP", ["TIMESTAMP'2024-02-29 12:00:00Z'", "TIMESTAMP'2023-02-28 00:00:00Z'", "TIMESTAMP'1970-01-02 00:00:01Z'", "TIMESTAMP'2020-01-01 00:00:00Z'", "TIMESTAMP'1970-01-01 00:00:00Z'", "NULL", "TIMESTAMP'2000-06-15 08:00:00.2Z'", "TIMESTAMP'2000-01-01 00:00:00Z'", "TIMESTAMP'2024-03-10 08:00:00Z'", "TIMESTAMP'2024-03-11 07:30:00Z'", "TIMESTAMP'2024-11-03 07:30:00Z'", "TIMESTAMP'2024-11-02 06:30:00Z'"]),
    "bin": ("BINARY", ["X'00FF'", "X''", "NULL", "X'68656C6C6F'", "X'E697A5'", "X'7F80'", "X'0102030405060708'", "X'41'", "X'4142'", "X'C3A9'", "X'20'", "X'0A'"]),
    "ai": ("ARRAY<INT>", ["array(1,2,3)", "array(3,1,NULL,2)", "NULL", "array()", "array(5)", "array(1,1,2,2)", "array(NULL)", "array(-1,0,1)", "array(2,3)", "array(7,NULL,7)", "array(10,20,30,40)", "array(4,4,4)"]),
    "aj": ("ARRAY<INT>", ["array(2,3,4)", "array(NULL,9)", "array(1)", "array(1)", "NULL", "array(2,2,3)", "array()", "array(0)", "array(2,3)", "array(7)", "array(50)", "array(4,NULL)"]),
    "a": ("ARRAY<STRING>", ["array('b','a','c')", "array('x',NULL,'y')", "NULL", "array()", "array('é','E','e')", "array('a','a')", "array(NULL)", "array('10','9','1')", "array('')", "array('日','本')", "array('b','B')", "array('z')"]),
    "m": ("MAP<STRING,INT>", ["map('a',1,'b',2)", "map('k',NULL)", "NULL", "map()", "map('z',26)", "map('x',-1,'y',0)", "map('日',3)", "map('a',9)", "map('b',8,'a',7)", "map('q',1)", "map('w',2)", "map('e',5)"]),
    "st": ("STRUCT<a:INT,b:STRING>", ["named_struct('a',1,'b','x')", "named_struct('a',NULL,'b','y')", "NULL", "named_struct('a',2,'b',NULL)", "named_struct('a',3,'b','z')", "named_struct('a',1,'b','x')", "named_struct('a',5,'b','')", "named_struct('a',6,'b','日')", "named_struct('a',7,'b','w')", "named_struct('a',8,'b','v')", "named_struct('a',9,'b','u')", "named_struct('a',0,'b','t')"]),
    "js": ("STRING", ["""'{"a":1,"b":"x","c":1.5}'""", """'{"a":null,"b":"y"}'""", "NULL", "'not json'", "'{}'", """'{"a":"7","b":true,"c":3}'""", """'{"b":"é日","a":99999999999,"c":"2.5"}'""", """'[{"a":1},{"a":2}]'""", """'{"a":2,"b":{"n":[1,2,{"k":"v"}]},"c":null}'""", "''", """'{"A":5,"b":"case","extra":[1]} '""", """'{"a":3,"b":"q"'"""]),
}  # fmt: skip


def values(name: str) -> list[str]:
    """The literals of one column, each under its type."""
    kind, literals = COLUMNS[name]
    return [f"CAST({v} AS {kind})" for v in literals]


def table_sql() -> str:
    """A SELECT of all rows, with their number as ``k``."""
    rows = []
    columns = {name: values(name) for name in COLUMNS}
    for n in range(ROWS):
        cells = ", ".join(f"{columns[name][n]} AS {name}" for name in COLUMNS)
        rows.append(f"SELECT {n} AS k, {cells}")
    return " UNION ALL ".join(rows)
