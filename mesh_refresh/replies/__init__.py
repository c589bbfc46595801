"""What a reply means for stored tokens. Pure.

- `reading`: which outcome or error a reply is. `outcomes` has these.
- `identity`: which account each entry of a reply is of. One rule for the client, the keeper and the command line.
- `merging`: the complete tokens of each entry, with the fields carried over that the reply left out.
- `brought`: which fields of an entry the reply itself had. Only these may replace stored ones. And what to store for an
  account after an outcome.
- `lineage`: which tokens came after which.
"""
