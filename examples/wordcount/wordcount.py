"""The word count of Spark's own guide: lines from a socket, counts to the console, all of them after every batch.

    nc -lk 9999                                              in one terminal: type lines here
    python examples/wordcount/wordcount.py localhost 9999    in another

But for the imports this is a PySpark program.
"""

from __future__ import annotations

import sys

from tidemill.sql import DataFrame, SparkSession
from tidemill.sql.functions import explode, split


def count_words(lines: DataFrame) -> DataFrame:
    words = lines.select(explode(split(lines.value, " ")).alias("word"))
    return words.groupBy("word").count()


def main(host: str, port: str) -> None:
    spark = SparkSession.builder.appName("wordcount").getOrCreate()
    lines = spark.readStream.format("socket").option("host", host).option("port", port).load()
    query = count_words(lines).writeStream.outputMode("complete").format("console").start()
    query.awaitTermination()


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: wordcount.py HOST PORT, such as localhost 9999")
    main(*sys.argv[1:])
