"""The enumerations of the wire contract, all of them open.

Mesh adds values faster than libraries are released, so a value that is not listed here stays the string that
Mesh wrote: nothing in this package refuses a reply or a broker for being new.

Source: https://docs.meshconnect.com/api-reference/managed-account-authentication/refresh-auth-token
"""

from enum import StrEnum
from typing import TypeVar

_E = TypeVar("_E", bound=StrEnum)


class BrokerType(StrEnum):
    """The brokers that Mesh names (the page's ``type``), and four that newer forms of the page add.

    Wherever a broker is asked for, any other non-empty string will do as well.
    """

    ROBINHOOD = "robinhood"
    E_TRADE = "eTrade"
    ALPACA = "alpaca"
    TD_AMERITRADE = "tdAmeritrade"
    WE_BULL = "weBull"
    STASH = "stash"
    INTERACTIVE_BROKERS = "interactiveBrokers"
    PUBLIC = "public"
    COINBASE = "coinbase"
    KRAKEN = "kraken"
    COINBASE_PRO = "coinbasePro"
    CRYPTO_COM = "cryptoCom"
    OPEN_SEA = "openSea"
    BINANCE_US = "binanceUs"
    GEMINI = "gemini"
    CRYPTOCURRENCY_ADDRESS = "cryptocurrencyAddress"
    CRYPTOCURRENCY_WALLET = "cryptocurrencyWallet"
    OK_COIN = "okCoin"
    BITTREX = "bittrex"
    KU_COIN = "kuCoin"
    ETORO = "etoro"
    CEX_IO = "cexIo"
    BINANCE_INTERNATIONAL = "binanceInternational"
    BITSTAMP = "bitstamp"
    GATE_IO = "gateIo"
    ACORNS = "acorns"
    OKX = "okx"
    BIT_FLYER = "bitFlyer"
    COINLIST = "coinlist"
    HUOBI = "huobi"
    BITFINEX = "bitfinex"
    DE_FI_WALLET = "deFiWallet"
    KRAKEN_DIRECT = "krakenDirect"
    VANGUARD = "vanguard"
    BINANCE_INTERNATIONAL_DIRECT = "binanceInternationalDirect"
    BITFINEX_DIRECT = "bitfinexDirect"
    BYBIT = "bybit"
    PAXOS = "paxos"
    COINBASE_PRIME = "coinbasePrime"
    BTC_TURK_DIRECT = "btcTurkDirect"
    KU_COIN_DIRECT = "kuCoinDirect"
    OKX_OAUTH = "okxOAuth"
    PARIBU_DIRECT = "paribuDirect"
    ROBINHOOD_CONNECT = "robinhoodConnect"
    BLOCKCHAIN_COM = "blockchainCom"
    BITSO_DIRECT = "bitsoDirect"
    BINANCE_CONNECT = "binanceConnect"
    BINANCE_OAUTH = "binanceOAuth"
    REVOLUT_CONNECT = "revolutConnect"
    BINANCE_PAY = "binancePay"
    BYBIT_DIRECT = "bybitDirect"
    PARIBU_OAUTH = "paribuOAuth"
    PAY_PAL_CONNECT = "payPalConnect"
    BINANCE_TR_DIRECT = "binanceTrDirect"
    COINBASE_RAMP = "coinbaseRamp"
    BYBIT_DIRECT_MOBILE = "bybitDirectMobile"
    SANDBOX = "sandbox"
    CRYPTO_COM_PAY = "cryptoComPay"
    BYBIT_EU_DIRECT = "bybitEuDirect"

    # Seen in newer published forms of the same page.
    UPHOLD = "uphold"
    BINANCE_PAY_ONCHAIN = "binancePayOnchain"
    SANDBOX_COINBASE = "sandboxCoinbase"
    BYBIT_PAY = "bybitPay"


class ApiStatus(StrEnum):
    """What the envelope says of a call (the page's ``ApiResultStatus``)."""

    OK = "ok"
    SERVER_FAILURE = "serverFailure"
    PERMISSION_DENIED = "permissionDenied"
    BAD_REQUEST = "badRequest"
    NOT_FOUND = "notFound"
    CONFLICT = "conflict"
    TOO_MANY_REQUEST = "tooManyRequest"
    LOCKED = "locked"
    UNAVAILABLE_FOR_LEGAL_REASONS = "unavailableForLegalReasons"


class AuthStatus(StrEnum):
    """What the broker said of the refresh (the page's ``B2BBrokerAuthStatus``)."""

    FAILED = "failed"
    SUCCEEDED = "succeeded"
    MFA_REQUIRED = "mfaRequired"


def known(enum: type[_E], value: str) -> _E | str:
    """The member of `enum` that `value` names, or `value` itself where none does."""
    # pylint-style `value in enum` needs 3.12; the private map is what Enum's own lookup uses on every version.
    return enum._value2member_map_.get(value, value)  # type: ignore[return-value]


_BROKERS_BY_FOLDED_NAME = {str(member).casefold(): member for member in BrokerType}


def named_broker(name: str) -> BrokerType | str:
    """The broker that `name` means: a member, also where only the case is another, or `name` itself.

    Strategies are chosen by the name. "webull" as a broker of its own would get the default strategy, and spend a token
    on a request that WeBull refuses. So every name of a broker is read here: by `Tokens`, registries, `Keeper.pause`.
    """
    member = BrokerType._value2member_map_.get(name)
    if member is None:
        return _BROKERS_BY_FOLDED_NAME.get(name.casefold(), name)
    return member  # type: ignore[return-value]
