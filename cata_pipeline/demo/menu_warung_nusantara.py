"""The menu of the Indonesian kitchen Warung Nusantara.

Add a dish here. How rows are made of it is decided in `cata_pipeline.demo.kitchen`.
"""

from cata_pipeline.demo.kitchen import Card, Dish, Recipe, Section, SetMeal, Variant, compose, product_id
from cata_pipeline.demo.products import Cases

TENANT_ID = "warung-nusantara"

_PORTION = (
    Variant("10", (("Porsi", "10 tusuk"),)),
    Variant("20", (("Porsi", "20 tusuk"),), 28000),
)
_CUT = (
    Variant("PAHA", (("Potongan", "Paha"),)),
    Variant("DADA", (("Potongan", "Dada"),), 2000),
    Variant("EKOR", (("Potongan", "Satu Ekor"),), 78000),
)
_TEMPERATURE = (
    Variant("PNS", (("Suhu", "Panas"),), 0, "cup"),
    Variant("DGN", (("Suhu", "Dingin"),), 2000),
)

_GROUPS = {
    "Level Pedas": (("Tidak Pedas", 0), ("Sedang", 0), ("Pedas", 0), ("Pedas Mampus", 2000)),
    "Nasi": (("Nasi Putih", 0), ("Nasi Uduk", 3000), ("Nasi Merah", 4000), ("Tanpa Nasi", 0)),
    "Tambahan": (("Telur Ceplok", 6000), ("Telur Asin", 8000), ("Kerupuk Udang", 4000), ("Emping", 5000)),
    "Gula": (("Manis", 0), ("Sedikit Gula", 0), ("Tawar", 0)),
}

_RICE = (
    Dish("NGK", "Nasi Goreng Kampung", 28000, "goreng", "Nasi goreng terasi dengan teri dan kangkung."),
    Dish("NGS", "Nasi Goreng Seafood", 42000, "goreng", "Udang, cumi dan bakso ikan."),
    Dish("NGB", "Nasi Goreng Kambing", 45000, "rendang", "Bumbu kebuli dengan daging kambing."),
    Dish("NGI", "Nasi Goreng Ikan Asin", 32000, "goreng", "Ikan asin jambal dan daun kemangi."),
    Dish("NUD", "Nasi Uduk Betawi", 30000, "nasi", "Nasi santan, semur tahu, bihun dan sambal kacang."),
    Dish("NKN", "Nasi Kuning Manado", 33000, "kuah", "Nasi kunyit dengan cakalang suwir."),
    Dish("NRM", "Nasi Rames", 32000, "nasi", "Nasi dengan lima lauk pilihan dapur."),
    Dish("NLW", "Nasi Liwet Solo", 34000, "nasi", "Nasi gurih, labu siam, areh dan ayam suwir."),
    Dish("NBK", "Nasi Bakar Tuna", 36000, "ikan", "Dibungkus daun pisang, tuna pedas kemangi."),
    Dish("NCP", "Nasi Campur Bali", 44000, "sambal", "Sate lilit, lawar, ayam betutu dan sambal matah."),
    Dish("NPT", "Nasi Putih", 7000, "nasi", "Beras Cianjur."),
)
_NOODLES = (
    Dish("MGJ", "Mie Goreng Jawa", 30000, "mie", "Dimasak di anglo, ayam kampung dan kol."),
    Dish("MGD", "Mie Godog Jawa", 30000, "kuah", "Mie rebus kuah telur bebek."),
    Dish("MAC", "Mie Aceh Daging", 38000, "mie", "Bumbu rempah, acar bawang dan emping."),
    Dish("MCL", "Mie Celor Palembang", 36000, "kuah", "Kuah santan udang, tauge dan telur."),
    Dish("MYM", "Mie Ayam Jamur", 27000, "mie", "Ayam kecap, jamur merang dan sawi."),
    Dish("KWT", "Kwetiau Siram Sapi", 39000, "mie", "Saus kental dan caisim."),
    Dish("BHG", "Bihun Goreng Medan", 29000, "mie", "Bihun, ebi dan tauge."),
)
_POULTRY = (
    Dish("AGK", "Ayam Goreng Kremes", 29000, "goreng", "Ayam kampung ungkep dengan kremesan."),
    Dish("ABK", "Ayam Bakar Taliwang", 34000, "sambal", "Bumbu Lombok, disajikan dengan plecing."),
    Dish("ABT", "Ayam Betutu", 36000, "rendang", "Base genep, dikukus enam jam."),
    Dish("AWK", "Ayam Woku", 35000, "kuah", "Woku belanga Manado dengan kemangi."),
    Dish("BBK", "Bebek Goreng Madura", 42000, "rendang", "Bumbu hitam dan sambal mangga muda."),
)
_FISH = (
    Dish("IBN", "Ikan Bakar Jimbaran", 58000, "ikan", "Kakap bakar sabut kelapa, sambal matah."),
    Dish("GRM", "Gurame Asam Manis", 78000, "ikan", "Gurame goreng utuh, saus nanas."),
    Dish("GRP", "Gurame Pesmol", 79000, "kuah", "Bumbu kuning dengan acar."),
    Dish("PPS", "Pepes Ikan Mas", 34000, "ikan", "Dibungkus daun pisang, kemangi dan tomat."),
    Dish("PLE", "Pecel Lele", 25000, "goreng", "Dua ekor lele, lalapan dan sambal terasi."),
    Dish("CMH", "Cumi Hitam", 48000, "rendang", "Dimasak dengan tintanya dan cabai hijau."),
    Dish("UDB", "Udang Balado", 52000, "sambal", "Udang windu dengan balado Padang."),
    Dish("PDG", "Pindang Patin", 46000, "kuah", "Kuah asam pedas nanas, khas Palembang."),
    Dish("CKL", "Cakalang Rica-Rica", 43000, "sambal", "Cakalang asap Bitung."),
)
_SATE = (
    Dish("SAM", "Sate Ayam Madura", 30000, "goreng", "Bumbu kacang dan kecap."),
    Dish("SKB", "Sate Kambing", 45000, "rendang", "Kecap, tomat dan bawang mentah."),
    Dish("SPD", "Sate Padang", 38000, "kuah", "Lidah sapi dengan kuah kuning kental."),
    Dish("SLL", "Sate Lilit Ikan", 36000, "ikan", "Tenggiri pada batang serai."),
    Dish("SMR", "Sate Maranggi", 42000, "rendang", "Sapi Purwakarta, sambal oncom."),
    Dish("SBT", "Sate Buntel Solo", 47000, "rendang", "Kambing cincang berbalut lemak."),
)
_SOUPS = (
    Dish("STB", "Soto Betawi", 42000, "kuah", "Kuah santan susu, daging dan paru."),
    Dish("STL", "Soto Lamongan", 30000, "kuah", "Ayam kampung dengan koya."),
    Dish("STK", "Soto Kudus", 28000, "kuah", "Disajikan di mangkuk kecil."),
    Dish("STM", "Soto Medan", 36000, "kuah", "Santan, ayam dan perkedel."),
    Dish("RWN", "Rawon Surabaya", 40000, "rendang", "Kluwek, daging sandung lamur dan telur asin."),
    Dish("SBN", "Sop Buntut", 65000, "kuah", "Buntut sapi direbus delapan jam."),
    Dish("SIG", "Sop Iga Bakar", 68000, "rendang", "Iga bakar, kuah terpisah."),
    Dish("CTO", "Coto Makassar", 39000, "rendang", "Kuah kacang dengan ketupat."),
    Dish("GLI", "Gulai Ikan Kakap", 49000, "kuah", "Kepala atau badan, asam kandis."),
    Dish("SAS", "Sayur Asem", 17000, "kuah", "Jagung, melinjo dan kacang panjang."),
    Dish("LDH", "Sayur Lodeh", 18000, "kelapa", "Santan encer, terong dan tempe semangit."),
)
_VEGETABLES = (
    Dish("GDG", "Gado-Gado", 27000, "sayur", "Sayur rebus, lontong dan bumbu kacang."),
    Dish("KRD", "Karedok", 24000, "sayur", "Sayur mentah Sunda, kencur."),
    Dish("PCL", "Pecel Madiun", 25000, "sayur", "Sambal pecel, rempeyek kacang."),
    Dish("URP", "Urap Sayur", 19000, "sayur", "Kelapa parut berbumbu."),
    Dish("PLC", "Plecing Kangkung", 20000, "sayur", "Kangkung Lombok, tomat dan terasi."),
    Dish("TKC", "Tumis Kangkung Belacan", 22000, "sayur", "Api besar, terasi Bangka."),
    Dish("TJG", "Tumis Jantung Pisang", 22000, "rendang", "Teri dan cabai rawit."),
    Dish("DSG", "Daun Singkong Tumbuk", 21000, "sayur", "Santan dan rimbang, khas Mandailing."),
    Dish("TRB", "Terong Balado", 20000, "taro", "Terong ungu, cabai merah keriting."),
    Dish("CPC", "Capcay Kuah", 32000, "sayur", "Tujuh sayur dan bakso ayam."),
)
_SIDES = (
    Dish("RND", "Rendang Daging", 38000, "rendang", "Sapi, santan dan rempah, empat jam di api kecil."),
    Dish("DBT", "Dendeng Batokok", 39000, "sambal", "Dendeng pukul dengan lado hijau."),
    Dish("GLT", "Gulai Tunjang", 42000, "kuah", "Kikil sapi dengan gulai kental."),
    Dish("PKD", "Perkedel Kentang (2 biji)", 10000, "goreng", "Kentang dan daging cincang."),
    Dish("TMB", "Tempe Bacem", 12000, "rendang", "Direbus gula jawa lalu digoreng."),
    Dish("TGJ", "Tahu Gejrot", 15000, "goreng", "Tahu Cirebon, kuah asam pedas."),
    Dish("TMD", "Tempe Mendoan", 15000, "goreng", "Lima lembar lebar, kecap rawit."),
    Dish("BKJ", "Bakwan Jagung (3 biji)", 14000, "goreng", "Jagung manis, daun jeruk."),
    Dish("TLB", "Telur Balado", 10000, "sambal", "Telur rebus goreng."),
    Dish("KRU", "Kerupuk Kaleng", 3000, "nasi", "Kerupuk putih, satu buah."),
)
_RELISHES = (
    Dish("SMB-TRS", "Sambal Terasi", 6000, "sambal", "Terasi Rembang dibakar."),
    Dish("SMB-MTH", "Sambal Matah", 8000, "sambal", "Bawang merah, serai dan minyak kelapa."),
    Dish("SMB-BJK", "Sambal Bajak", 6000, "sambal", "Cabai tua dengan tomat."),
    Dish("SMB-DBU", "Sambal Dabu-Dabu", 8000, "sambal", "Tomat hijau dan jeruk kunci."),
    Dish("SMB-IJO", "Sambal Ijo", 6000, "sayur", "Cabai hijau Padang."),
    Dish("SMB-ANL", "Sambal Andaliman", 9000, "sambal", "Merica Batak yang menggigit."),
)
_DRINKS = (
    Dish("TEH", "Teh Manis", 7000, "teh", "Teh Slawi."),
    Dish("TTW", "Teh Tawar", 4000, "teh", "Teh Slawi tanpa gula."),
    Dish("JRK", "Jeruk Peras", 14000, "jeruk", "Jeruk Pontianak."),
    Dish("LMN", "Jeruk Nipis Madu", 15000, "jeruk", "Madu hutan Sumbawa."),
    Dish("KPT", "Kopi Tubruk", 12000, "kopi", "Robusta Lampung."),
    Dish("KSU", "Kopi Susu Warung", 15000, "susu", "Robusta dan susu kental manis."),
    Dish("WJH", "Wedang Jahe", 13000, "teh", "Jahe emprit dibakar."),
    Dish("WUH", "Wedang Uwuh", 15000, "stroberi", "Secang, cengkih dan kayu manis dari Imogiri."),
    Dish("BJG", "Bajigur", 14000, "kelapa", "Santan, gula aren dan kolang-kaling."),
    Dish("STMJ", "Susu Telur Madu Jahe", 18000, "krim", "Susu segar, kuning telur kampung dan jahe."),
)
_ICES = (
    Dish("ESC", "Es Cendol", 17000, "pandan", "Cendol suji, santan dan gula aren."),
    Dish("ESD", "Es Dawet Ayu", 17000, "pandan", "Dawet Banjarnegara dengan nangka."),
    Dish("EST", "Es Teler", 24000, "kelapa", "Alpukat, kelapa muda dan nangka."),
    Dish("ESK", "Es Kelapa Muda", 19000, "kelapa", "Satu butir utuh atau dalam gelas."),
    Dish("ESP", "Es Pisang Ijo", 22000, "pandan", "Pisang raja, bubur sumsum dan sirup merah."),
    Dish("ESO", "Es Oyen Bandung", 21000, "stroberi", "Mutiara, alpukat dan kelapa."),
    Dish("ESB", "Es Buah Crème de Coco 🥥", 25000, "stroberi", "Buah musim dengan krim kelapa."),
    Dish("AIR", "Air Mineral 600 ml", 6000, "kelapa", "Dingin atau suhu ruang."),
)
_SNACKS = (
    Dish("KLP", "Klepon (6 biji)", 14000, "pandan", "Gula aren cair di dalam."),
    Dish("LMP", "Lemper Ayam", 8000, "nasi", "Ketan isi ayam suwir."),
    Dish("LPS", "Kue Lapis", 7000, "stroberi", "Tepung beras, dua warna."),
    Dish("DDR", "Dadar Gulung", 7000, "pandan", "Unti kelapa gula aren."),
    Dish("SRB", "Serabi Solo", 9000, "krim", "Santan kental di tengah."),
    Dish("ONB", "Onde-Onde", 7000, "goreng", "Kacang hijau dan wijen."),
    Dish("PKE", "Pempek Kapal Selam", 32000, "goreng", "Tenggiri, telur dan cuko."),
    Dish("BKA", "Bika Ambon", 12000, "keju", "Sarang tawon, daun jeruk."),
    Dish("PTU", "Putu Bambu (4 biji)", 12000, "pandan", "Dikukus saat dipesan."),
    Dish("WJK", "Wajik Ketan", 8000, "rendang", "Ketan, gula jawa dan pandan."),
)

WARUNG_NUSANTARA = compose(
    Card(
        tenant_id=TENANT_ID,
        store_name="Warung Nusantara Dago",
        address="Jl. Ir. H. Juanda 118, Bandung",
        groups=_GROUPS,
        sections=(
            Section("Nasi", "plate", _RICE, groups=("Level Pedas", "Tambahan"), tags=("favorit",)),
            Section("Mie", "bowl", _NOODLES, groups=("Level Pedas", "Tambahan")),
            Section("Ayam & Bebek", "plate", _POULTRY, _CUT, ("Level Pedas", "Nasi"), ("halal",)),
            Section("Ikan & Laut", "plate", _FISH, groups=("Level Pedas", "Nasi")),
            Section("Sate", "plate", _SATE, _PORTION, ("Nasi",), ("bakaran",)),
            Section("Soto & Sop", "bowl", _SOUPS, groups=("Nasi", "Tambahan")),
            Section("Sayur", "plate", _VEGETABLES, groups=("Level Pedas",), tags=("vegetarian", "sehat")),
            Section("Lauk", "plate", _SIDES, tracked=True),
            Section("Sambal", "bowl", _RELISHES, tracked=True),
            Section("Minuman", "glass", _DRINKS, _TEMPERATURE, ("Gula",)),
            Section("Es", "glass", _ICES, tags=("segar",)),
            Section("Jajanan Pasar", "plate", _SNACKS, tags=("manis",), tracked=True),
        ),
        sets=(
            SetMeal(
                Dish("PKT-B2", "Paket Berdua Ayam Kremes", 72000, "goreng", "Dua ayam, dua nasi, dua minuman."),
                "plate",
                (
                    ("Lauk", "AGK-PAHA", 1),
                    ("Lauk", "AGK-PAHA", 1),
                    ("Nasi", "NPT", 2),
                    ("Minuman", "TEH-DGN", 1),
                    ("Minuman", "JRK-DGN", 1),
                ),
            ),
            SetMeal(
                Dish("PKT-LW", "Paket Liwetan Keluarga", 265000, "nasi", "Untuk empat orang, di atas daun pisang."),
                "plate",
                (
                    ("Utama", "NLW", 4),
                    ("Lauk", "AGK-EKOR", 1),
                    ("Lauk", "GRM", 1),
                    ("Sayur", "SAS", 2),
                    ("Sambal", "SMB-TRS", 2),
                    ("Minuman", "TEH-DGN", 4),
                ),
            ),
        ),
        recipes=(
            Recipe(
                Dish("TMP", "Tumpeng Mini", 68000, "kuah", "Nasi kuning dengan tujuh lauk, untuk satu orang."),
                "Nasi",
                "plate",
                (("Beras Cianjur", "RM-BRS", 0.25), ("Kunyit", "RM-KNY", 0.02), ("Ayam Kampung", "RM-AYM", 0.15)),
            ),
        ),
        cases=Cases(
            empty_sku_product_id=product_id(TENANT_ID, "AIR"),
            duplicate_sku="NRM",
            no_picture="KRU",
            broken_picture="CPC",
            missing_picture="PTU",
            shared_picture=("STL", "STK"),
            inactive="GLT",
            accented="ESB",
            wrong_inner_group="PLE",
            variant_family=("SAM-10", "SAM-20"),
            comboset="PKT-B2",
            composite="TMP",
            to_rename_by_merchant="RND",
            to_rename_by_pos="STB",
            renamed_by_both="GDG",
            to_photo_by_merchant="IBN",
            to_photo_by_pos="RWN",
            to_price_by_merchant="EST",
            to_deactivate="MCL",
            to_remove="PDG",
        ),
    )
)
