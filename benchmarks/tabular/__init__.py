"""Parts of the benchmark on real tables: what is trained on, who trains, what the scores say.

Modules
-------
data : the tables, and which of them the defaults were chosen on.
methods : who takes part.
runs : one line of JSON for each table, seed and method.
ranks : mean ranks, what they show, paired differences.
picture : the critical-difference picture.
"""
