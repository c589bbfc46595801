"""The rules of a keeper: what becomes of a login. Start reading here.

A rule is a pure function: `(login, outcome, context) -> Transition(login, events, hold, changed)`. It has no clock, no
I/O and no randomness of its own: `Context` has the time, the policy and new ids. The runtime reads a login, asks the
rules, writes what they return, and tells the events after that.


Words
-----

login, account   A person at a broker; one of its accounts, with tokens of its own. A row is a login in a store.
exchange         One refresh of an account at Mesh: a request, and its outcome. It spends the account's credential,
                 which is mostly the refresh token: the strategy says what.
attempt          A numbered claim for an exchange, written before the request. The number grows for ever.
claim, lease     Taking a login that is due; for how long no other process may exchange it. A permit is the right to
                 send now: see `mesh_refresh.keeper.limits`.
epoch, revision  The generation of an account's tokens, new with each `add` of other tokens; the version of a row.
fencing          What decides which outcome counts: epochs, and the numbers of attempts.
rotate, spend    A broker gives a new pair; the old one is used up.
settle           To write the result of an attempt.
due              When the loop exchanges an account by itself; without a due time, only a caller does.
parked           Not exchanged by the loop: `mfa_required`, `reconnect_required` or `unreadable`.


An account, from state to state
-------------------------------

The first row counts whose state, event and guard hold; a row without a guard is the rest. `working` is `active`,
`not_refreshable` or `managed`, `none` an account that the login does not have yet, and `same` the state before. Mesh
manages the token of an account that has a token id, and neither has nor had a credential. `Reason` says why an account
is parked. tests/keeper/rules/test_transitions.py checks this table against the code, row by row.

| state           | event              | guard                           | becomes            |
|-----------------|--------------------|---------------------------------|--------------------|
| any             | tokens             | does not count                  | same               |
| any, none       | tokens             | has a credential                | active             |
| any, none       | tokens             | Mesh manages its token          | managed            |
| any, none       | tokens             |                                 | not_refreshable    |
| any             | sibling's tokens   | does not count                  | same               |
| working         | sibling's tokens   | an unnamed entry may be its own | reconnect_required |
| mfa_required    | sibling's tokens   | an unnamed entry may be its own | reconnect_required |
| any             | sibling's tokens   | had the spent token             | active             |
| any             | sibling's tokens   |                                 | same               |
| any             | question           | does not count                  | same               |
| any             | question           |                                 | mfa_required       |
| any             | sibling's question | had the spent token             | active             |
| any             | sibling's question |                                 | same               |
| any             | wrong code         |                                 | same               |
| any             | refused            | does not count                  | same               |
| any             | refused            | is no fault of the account      | same               |
| any             | refused            | had an unknown outcome before   | reconnect_required |
| any             | refused            | had a sibling renewed before    | reconnect_required |
| any             | refused            | was refused before              | reconnect_required |
| any             | refused            |                                 | same               |
| any             | unknown            | does not count                  | same               |
| any             | unknown            | answered a question             | same               |
| working         | unknown            | allows no second request        | reconnect_required |
| any             | unknown            |                                 | same               |
| any             | failed             |                                 | same               |
| any             | unreadable         | does not count                  | same               |
| any             | unreadable         |                                 | unreadable         |
| any             | late bytes         | does not count                  | same               |
| any             | late bytes         | has succeeded since             | same               |
| mfa_required    | late bytes         | has asked since                 | same               |
| any             | late bytes         |                                 | unreadable         |
| any             | lease ran out      | does not count                  | same               |
| working         | lease ran out      | allows no second request        | reconnect_required |
| any             | lease ran out      |                                 | same               |
| working         | taken back         | allows no second request        | reconnect_required |
| any             | taken back         |                                 | same               |
| any             | unsendable         | had an unknown outcome before   | reconnect_required |
| any             | unsendable         |                                 | same               |
| not_refreshable | time passed        | has a credential                | active             |
| managed         | time passed        | has a credential                | active             |
| not_refreshable | time passed        | access token ended              | reconnect_required |
| any             | time passed        |                                 | same               |
| any             | retried            | was parked for another reason   | same               |
| any             | retried            | its live token may be elsewhere | same               |
| parked          | retried            |                                 | active             |
| parked          | add                | has an access token never seen  | active             |
| any             | add                | had the tokens before           | same               |
| any, none       | add                | has a credential                | active             |
| any, none       | add                | Mesh manages its token          | managed            |
| any, none       | add                |                                 | not_refreshable    |

The events, and the rules that decide them:

tokens, sibling's tokens      `success.apply_success`: a reply that names the account, or leaves it out (`siblings`).
question, sibling's question  `mfa.park_with_question`: a reply that asks for a code, of this account or of another one.
wrong code                    `mfa.reopen_question`: also a code that was not sent.
refused, unknown, failed      `failure.apply_failure`: the tokens are not accepted; the outcome is unknown; nothing is
                              spent.
unreadable, late bytes        `unreadable.keep_unreadable`: a reply that cannot be taken; what came after its exchange.
lease ran out                 `failure.stamp_open_attempt`: a process has ended with its attempt open.
taken back                    `failure.stamp_taken_back`: a login comes back from a store that is lost.
unsendable                    `failure.park_unsendable`: a due account whose strategy allows no second request.
time passed                   `failure.park_expired`: also a strategy that has changed.
retried                       `failure.undo_refusals`: an operator takes back what a broker has refused falsely.
add                           `add.with_tokens`: the person has logged in anew.


Where it is decided
-------------------

attempt, transition   Values: an attempt and the results it can have; what a rule is told, and what it returns.
plan                  What to do with a login that was just claimed: nothing, write it back, or send.
select                Which account is exchanged, and what a caller is answered: one ordered list of guards.
schedule              When an account is due, and every wait: margins, backoff, after an unknown outcome.
fencing               Whether an outcome counts for an account.
success               Whose each entry of a reply is; what it makes of its account.
siblings              What a reply means for the accounts that it leaves out.
mfa                   Everything about a question for a code.
failure, classify     What a failure makes of an account; what an error means for it, and for the breakers.
unreadable            Replies that cannot be taken, and are kept.
add                   What `Keeper.add` makes of a login.
notices               What of a write must be told until it is taken.
clock_skew            Times of a wall clock that was ahead.


The order of writes
-------------------

1. The claim is written, with the number of the attempt, before the request.
2. Before a code is sent, its question is marked as answered.
3. Right before the bytes go out, the runtime checks what is left of the lease, and whether the row has changed.
4. What the reply brought is the first thing written after it, into the store or into the spool. It is merged into the
   login as it is stored then, and swapped in by its revision. A conflict reads and merges again.
5. The lease goes back with that write. The events of accounts and waiting callers come after it. Breakers hear of a
   failure or an unreadable reply before it, and of a success after it.


Decisions
---------

- docs/decisions/the-keeper.md: the order of writes, and which outcome counts.
- docs/decisions/one-row-a-login.md: why a login is the unit of lease and row.
- docs/decisions/leases-are-not-renewed.md and docs/decisions/holds-on-the-stores-clock.md: leases and waits.
- docs/decisions/retries-and-unknown-outcomes.md: what is sent again.
- docs/decisions/breakers.md: outages that are not an account's fault.
- docs/decisions/rows-changed-in-the-future.md: clocks that were put back.
"""
