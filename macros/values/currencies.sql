{#-
    Purpose: the currencies in use.
    Input:   nothing.
    Output:  a list of codes. Source: ISO 4217, list one (active codes), without metals and test codes.
-#}
{% macro iso_currencies() -%}
    {{ return((
        'AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BOV BRL BSD BTN BWP BYN '
        ~ 'BZD CAD CDF CHE CHF CHW CLF CLP CNY COP COU CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP '
        ~ 'GBP GEL GHS GIP GMD GNF GTQ GYD HKD HNL HRK HTG HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR '
        ~ 'KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MXV '
        ~ 'MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR RON RSD RUB RWF SAR SBD SCR SDG '
        ~ 'SEK SGD SHP SLE SLL SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND TOP TRY TTD TWD TZS UAH UGX USD USN '
        ~ 'UYI UYU UYW UZS VED VES VND VUV WST XAF XCD XCG XOF XPF YER ZAR ZMW ZWG ZWL'
    ).split(' ')) }}
{%- endmacro %}


{#-
    Purpose: how many decimals a currency has.
    Input:   a text expression of the currency's code.
    Output:  an integer expression, null for an unknown (null) currency. Source: ISO 4217, minor units.
-#}
{% macro currency_exponent(currency) -%}
    case
        when {{ currency }} in (
            'BIF', 'CLP', 'DJF', 'GNF', 'ISK', 'JPY', 'KMF', 'KRW', 'PYG', 'RWF', 'UGX', 'UYI', 'VND', 'VUV', 'XAF', 'XOF',
            'XPF'
        ) then 0
        when {{ currency }} in ('BHD', 'IQD', 'JOD', 'KWD', 'LYD', 'OMR', 'TND') then 3
        when {{ currency }} in ('CLF', 'UYW') then 4
        when {{ currency }} is not null then 2
    end
{%- endmacro %}


{#-
    Purpose: what one minor unit of a currency is worth, in units of the currency.
    Input:   a text expression of the currency's code.
    Output:  a numeric expression, null for an unknown (null) currency. Source: ISO 4217, minor units.
-#}
{% macro minor_unit(currency) -%}
    case {{ currency_exponent(currency) }} when 0 then 1 when 2 then 0.01 when 3 then 0.001 when 4 then 0.0001 end
{%- endmacro %}


{#-
    Purpose: what one unit of Stripe's amounts is worth, in units of the currency.
    Input:   a text expression of the currency's code.
    Output:  a numeric expression, null for an unknown (null) currency.
    Source:  Stripe's documentation of zero-decimal and three-decimal currencies and of its special cases. It
             differs from ISO 4217: MGA has no decimals, ISK and UGX are charged as if they had two, IQD and LYD
             are not among the three-decimal ones.
-#}
{% macro stripe_unit(currency) -%}
    case
        when {{ currency }} in (
            'BIF', 'CLP', 'DJF', 'GNF', 'JPY', 'KMF', 'KRW', 'MGA', 'PYG', 'RWF', 'VND', 'VUV', 'XAF', 'XOF', 'XPF'
        ) then 1
        when {{ currency }} in ('BHD', 'JOD', 'KWD', 'OMR', 'TND') then 0.001
        when {{ currency }} is not null then 0.01
    end
{%- endmacro %}


{#-
    Purpose: what stands before an amount of a currency.
    Input:   a text expression of the currency's code.
    Output:  a text expression: the symbol, or the code and a space where there is none, empty for no currency.
-#}
{% macro currency_symbol(currency) -%}
    case {{ currency }}
        when 'USD' then '$'
        when 'EUR' then '€'
        when 'GBP' then '£'
        when 'JPY' then '¥'
        when 'INR' then '₹'
        when 'NGN' then '₦'
        when 'CAD' then 'C$'
        when 'AUD' then 'A$'
        when 'KRW' then '₩'
        when 'ILS' then '₪'
        when 'VND' then '₫'
        when 'PHP' then '₱'
        when 'UAH' then '₴'
        when 'TRY' then '₺'
        else coalesce({{ currency }} || ' ', '')
    end
{%- endmacro %}
