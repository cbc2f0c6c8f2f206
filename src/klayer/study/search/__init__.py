"""The search: arms drawn by a sampler, a whole stage of trials in lockstep, coarse to fine.

::

    RUN/
      search.json       what was asked: stages with their reasons, trials, finalists
      networks.jsonl    what was trained, as in every run; parts "search" and "finalists"
      search.db         Optuna's storage, for optuna-dashboard; it follows from the two
      trials.csv, .json a row a trial
      finalists.csv     a row a finalist, with the test accuracy and its spread
"""
